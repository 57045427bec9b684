/*
 * The Ascend runtime's public names, as far as programs that move KV caches use them, for a machine without an NPU.
 *
 * Declarations of our own: names, argument types and values are the public interface's, nothing else is. What stands
 * behind them is libascendcl.so of the package fake-ascend: device memory is host memory, streams and events run in
 * order on threads.
 */
#ifndef FAKE_ASCEND_ACL_ACL_H_
#define FAKE_ASCEND_ACL_ACL_H_

#include "acl/acl_rt.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Once per process; the path of a configuration file, or NULL, is not looked at. */
aclError aclInit(const char *configPath);

/* Undoes aclInit. */
aclError aclFinalize(void);

/* What the last failed call of this thread had to say, or NULL; asking forgets it. Valid until this thread asks
 * again. */
const char *aclGetRecentErrMsg(void);

#ifdef __cplusplus
}
#endif

#endif /* FAKE_ASCEND_ACL_ACL_H_ */
