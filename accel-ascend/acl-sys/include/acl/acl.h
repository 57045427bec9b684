/*
 * The Ascend runtime's public names, as far as this repository uses them: to bind the runtime, and to compile programs
 * on a machine without CANN.
 *
 * Declarations of our own: names, argument types and values are the public interface's, nothing else is. A program that
 * is compiled with them runs with CANN's libascendcl.so, or with that of the package fake-ascend.
 */
#ifndef PMD_ACL_ACL_H_
#define PMD_ACL_ACL_H_

#include "acl/acl_rt.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Once per process; the path of a configuration file, or NULL. */
aclError aclInit(const char *configPath);

/* Undoes aclInit. */
aclError aclFinalize(void);

/* What the last failed call of this thread had to say, or NULL; asking forgets it. Valid until this thread asks
 * again. */
const char *aclGetRecentErrMsg(void);

#ifdef __cplusplus
}
#endif

#endif /* PMD_ACL_ACL_H_ */
