// What NIXL 1.5.1 and its back end plugins agree on, in our own words: NIXL's wheels ship no headers.
//
// Only what a plugin sees is here: the enumerations' numbers, the layouts of what the agent passes in, the order of the
// virtual functions, and the table that the plugin hands out. A class that the agent alone makes has just its layout and
// the functions that a plugin may call on it. The names are NIXL's, so that the shim builds against NIXL's own headers
// too (NIXL_INCLUDE). Nothing here is linked against NIXL.
//
// A release may change any of this without a new NIXL_PLUGIN_API_VERSION. So there is one such file for each release
// that the plugin was loaded into, and the plugin refuses every other (see hosting.rs).
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

// The release that this file describes.
#define PMD_NIXL_RELEASE "1.5.1"

#define NIXL_PLUGIN_API_VERSION 1
#define NIXL_PLUGIN_EXPORT __attribute__((visibility("default")))

enum nixl_mem_t { DRAM_SEG, VRAM_SEG, BLK_SEG, OBJ_SEG, FILE_SEG };

enum nixl_xfer_op_t { NIXL_READ, NIXL_WRITE };

enum nixl_status_t {
    NIXL_IN_PROG = 1,
    NIXL_SUCCESS = 0,
    NIXL_ERR_NOT_POSTED = -1,
    NIXL_ERR_INVALID_PARAM = -2,
    NIXL_ERR_BACKEND = -3,
    NIXL_ERR_NOT_FOUND = -4,
    NIXL_ERR_MISMATCH = -5,
    NIXL_ERR_NOT_ALLOWED = -6,
    NIXL_ERR_REPOST_ACTIVE = -7,
    NIXL_ERR_UNKNOWN = -8,
    NIXL_ERR_NOT_SUPPORTED = -9,
    NIXL_ERR_REMOTE_DISCONNECT = -10,
    NIXL_ERR_CANCELED = -11,
    NIXL_ERR_NO_TELEMETRY = -12
};

enum class nixl_thread_sync_t { NIXL_THREAD_SYNC_NONE, NIXL_THREAD_SYNC_STRICT, NIXL_THREAD_SYNC_RW };

enum class nixl_cost_t { ANALYTICAL_BACKEND = 0 };

using nixl_backend_t = std::string;
using nixl_blob_t = std::string;
using nixl_mem_list_t = std::vector<nixl_mem_t>;
using nixl_b_params_t = std::unordered_map<std::string, std::string>;
using nixl_query_resp_t = std::optional<nixl_b_params_t>;
using nixlMemViewH = void*;
using notif_list_t = std::vector<std::pair<std::string, std::string>>;

// Options of the agent's own calls; a back end is only handed a pointer to them.
struct nixlAgentOptionalArgs;
using nixl_opt_args_t = nixlAgentOptionalArgs;

// One piece of memory: first byte, bytes, and the device that it is on.
class nixlBasicDesc {
  public:
    std::uintptr_t addr;
    std::size_t len;
    std::uint64_t devId;
};

// With what the caller or a back end says of it.
class nixlBlobDesc : public nixlBasicDesc {
  public:
    nixl_blob_t metaInfo;
};

// What a back end keeps for a registration. The agent frees it only through the back end.
class nixlBackendMD {
  protected:
    bool isPrivateMD;

  public:
    explicit nixlBackendMD(bool isPrivate) : isPrivateMD(isPrivate) {}
    virtual ~nixlBackendMD() = default;
};

// What a back end keeps for a transfer.
class nixlBackendReqH {
  public:
    nixlBackendReqH() = default;
    virtual ~nixlBackendReqH() = default;
};

// A piece of memory with what the back end keeps for the registration that holds it.
class nixlMetaDesc : public nixlBasicDesc {
  public:
    nixlBackendMD* metadataP;
};

// With the agent whose memory it is.
struct nixlRemoteMetaDesc : public nixlMetaDesc {
    std::string remoteAgent;
};

// A list of descriptors of one kind of memory. The agent makes it, a plugin reads it.
template <class Descriptor>
class nixlDescList {
  protected:
    nixl_mem_t type;
    std::vector<Descriptor> descs;

  public:
    nixlDescList() = delete;
    virtual ~nixlDescList() = default;
    virtual void resize(const std::size_t& count);
    virtual void addDesc(const Descriptor& descriptor);
    virtual int getIndex(const nixlBasicDesc& query) const;

    nixl_mem_t getType() const { return type; }
    int descCount() const { return static_cast<int>(descs.size()); }
    const Descriptor& operator[](std::size_t index) const { return descs[index]; }
};

using nixl_meta_dlist_t = nixlDescList<nixlMetaDesc>;
using nixl_reg_dlist_t = nixlDescList<nixlBlobDesc>;
using nixl_remote_meta_dlist_t = nixlDescList<nixlRemoteMetaDesc>;

// What accompanies the preparation and the posting of a transfer.
struct nixlBackendOptionalArgs {
    nixl_blob_t notifMsg;
    bool hasNotif = false;
    nixl_blob_t customParam;
};
using nixl_opt_b_args_t = nixlBackendOptionalArgs;

// What a back end is made from.
class nixlBackendInitParams {
  public:
    std::string localAgent;
    nixl_backend_t type;
    nixl_b_params_t* customParams = nullptr;
    bool enableProgTh = false;
    std::uint64_t pthrDelay = 0;
    nixl_thread_sync_t syncMode;
    bool enableTelemetry_ = false;
};

// One measurement; the plugin makes none, but the agent takes the list out of every back end.
struct nixlTelemetryEvent {
    std::uint32_t eventType_;
    std::uint64_t value_;
};

// A back end. The agent calls the virtual functions by their place, and reads the members before `initErr` itself.
class nixlBackendEngine {
  private:
    nixl_backend_t backendType;
    nixl_b_params_t customParams;
    std::vector<nixlTelemetryEvent> telemetryEvents_;
    std::mutex telemetryEventsMutex_;

  protected:
    bool initErr = false;
    const std::string localAgent;
    const bool enableTelemetry_;

  public:
    explicit nixlBackendEngine(const nixlBackendInitParams* parameters)
        : backendType(parameters->type),
          customParams(*parameters->customParams),
          localAgent(parameters->localAgent),
          enableTelemetry_(parameters->enableTelemetry_) {}
    nixlBackendEngine(const nixlBackendEngine&) = delete;
    void operator=(const nixlBackendEngine&) = delete;
    virtual ~nixlBackendEngine() = default;

    // What it can do.
    virtual bool supportsRemote() const = 0;
    virtual bool supportsLocal() const = 0;
    virtual bool supportsNotif() const = 0;
    virtual nixl_mem_list_t getSupportedMems() const = 0;

    // Every back end.
    virtual nixl_status_t registerMem(const nixlBlobDesc&, const nixl_mem_t&, nixlBackendMD*&) = 0;
    virtual nixl_status_t deregisterMem(nixlBackendMD*) = 0;
    virtual nixl_status_t connect(const std::string&) = 0;
    virtual nixl_status_t disconnect(const std::string&) = 0;
    virtual nixl_status_t unloadMD(nixlBackendMD*) = 0;
    virtual nixl_status_t prepXfer(const nixl_xfer_op_t&, const nixl_meta_dlist_t&, const nixl_meta_dlist_t&,
                                   const std::string&, nixlBackendReqH*&,
                                   const nixl_opt_b_args_t* = nullptr) const = 0;
    virtual nixl_status_t postXfer(const nixl_xfer_op_t&, const nixl_meta_dlist_t&, const nixl_meta_dlist_t&,
                                   const std::string&, nixlBackendReqH*&,
                                   const nixl_opt_b_args_t* = nullptr) const = 0;
    virtual nixl_status_t checkXfer(nixlBackendReqH*) const = 0;
    virtual nixl_status_t releaseReqH(nixlBackendReqH*) const = 0;

    // Memory views, for kernels that start transfers.
    virtual nixl_status_t prepMemView(const nixl_remote_meta_dlist_t&, nixlMemViewH&,
                                      const nixl_opt_b_args_t* = nullptr) const {
        return NIXL_ERR_NOT_SUPPORTED;
    }
    virtual nixl_status_t prepMemView(const nixl_meta_dlist_t&, nixlMemViewH&,
                                      const nixl_opt_b_args_t* = nullptr) const {
        return NIXL_ERR_NOT_SUPPORTED;
    }
    virtual void releaseMemView(nixlMemViewH) const {}

    // Those with peers.
    virtual nixl_status_t getPublicData(const nixlBackendMD*, std::string&) const { return NIXL_ERR_BACKEND; }
    virtual nixl_status_t getConnInfo(std::string&) const { return NIXL_ERR_BACKEND; }
    virtual nixl_status_t loadRemoteConnInfo(const std::string&, const std::string&) { return NIXL_ERR_BACKEND; }
    virtual nixl_status_t loadRemoteMD(const nixlBlobDesc&, const nixl_mem_t&, const std::string&, nixlBackendMD*&) {
        return NIXL_ERR_BACKEND;
    }

    // Those that serve an agent's transfers to itself.
    virtual nixl_status_t loadLocalMD(nixlBackendMD*, nixlBackendMD*&) { return NIXL_ERR_BACKEND; }

    // Those with notifications.
    virtual nixl_status_t getNotifs(notif_list_t&) { return NIXL_ERR_BACKEND; }
    virtual nixl_status_t genNotif(const std::string&, const std::string&) const { return NIXL_ERR_BACKEND; }

    // Those that can.
    virtual nixl_status_t queryMem(const nixl_reg_dlist_t&, std::vector<nixl_query_resp_t>&) const {
        return NIXL_ERR_NOT_SUPPORTED;
    }
    virtual nixl_status_t estimateXferCost(const nixl_xfer_op_t&, const nixl_meta_dlist_t&, const nixl_meta_dlist_t&,
                                           const std::string&, nixlBackendReqH* const&, std::chrono::microseconds&,
                                           std::chrono::microseconds&, nixl_cost_t&,
                                           const nixl_opt_args_t* = nullptr) const {
        return NIXL_ERR_NOT_SUPPORTED;
    }
};

// What `nixl_plugin_init` hands out.
class nixlBackendPlugin {
  public:
    int api_version;
    nixlBackendEngine* (*create_engine)(const nixlBackendInitParams*);
    void (*destroy_engine)(nixlBackendEngine*);
    const char* (*get_plugin_name)();
    const char* (*get_plugin_version)();
    nixl_b_params_t (*get_backend_options)();
    nixl_mem_list_t (*get_backend_mems)();
};
