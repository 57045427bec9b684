// The C++ face of the plugin: NIXL's agent calls these virtual functions, and each passes its arguments on to Rust.
//
// Built against NIXL's own headers where NIXL_INCLUDE names them, else against the declaration in interface/.
#ifdef PMD_NIXL_HEADERS
#include "backend/backend_plugin.h"
#else
#include PMD_NIXL_INTERFACE
#endif

#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "seam.h"

namespace pmd {

constexpr char NAME[] = "PMD";

PmdBytes bytes(const std::string& text) { return {text.data(), text.size()}; }

std::string_view view(PmdBytes bytes) { return {static_cast<const char*>(bytes.data), bytes.length}; }

// Keeps one string.
PmdSink into(std::string& text) {
    auto take = [](void* context, PmdBytes, PmdBytes value) noexcept {
        static_cast<std::string*>(context)->assign(view(value));
    };
    return {&text, take};
}

// Keeps pairs, in a map or in a list.
template <class Pairs>
PmdSink collect(Pairs& pairs) {
    auto take = [](void* context, PmdBytes name, PmdBytes value) noexcept {
        auto& pairs = *static_cast<Pairs*>(context);
        pairs.emplace(pairs.end(), std::string(view(name)), std::string(view(value)));
    };
    return {&pairs, take};
}

void complain(const std::string& problem) { std::fprintf(stderr, "NIXL plugin %s: %s\n", NAME, problem.c_str()); }

// Memory of this agent.
struct Region : nixlBackendMD {
    PmdRegion* handle;
    explicit Region(PmdRegion* region) : nixlBackendMD(true), handle(region) {}
};

// Memory of a remote agent, or this agent's own as the target of its own transfers.
struct Target : nixlBackendMD {
    PmdTarget* handle;
    explicit Target(PmdTarget* target) : nixlBackendMD(false), handle(target) {}
    ~Target() override { pmd_nixl_unload(handle); }
};

struct Request : nixlBackendReqH {
    PmdRequest* handle;
    explicit Request(PmdRequest* request) : handle(request) {}
    static PmdRequest* of(nixlBackendReqH* request) { return static_cast<Request*>(request)->handle; }
};

class Engine : public nixlBackendEngine {
    PmdBackend* backend = nullptr;
    bool has_accelerators = false;

  public:
    explicit Engine(const nixlBackendInitParams* given) : nixlBackendEngine(given) {
        std::vector<PmdParameter> parameters;
        for (const auto& [name, value] : *given->customParams) parameters.push_back({bytes(name), bytes(value)});
        std::string problem;
        auto status =
            pmd_nixl_open(bytes(localAgent), parameters.data(), parameters.size(), &backend, into(problem));
        initErr = status != NIXL_SUCCESS;
        if (initErr) complain(problem);
        has_accelerators = !initErr && pmd_nixl_has_accelerators(backend);
    }

    ~Engine() override { pmd_nixl_close(backend); }

    bool supportsRemote() const override { return true; }
    bool supportsLocal() const override { return true; }
    bool supportsNotif() const override { return true; }
    nixl_mem_list_t getSupportedMems() const override {
        return has_accelerators ? nixl_mem_list_t{DRAM_SEG, VRAM_SEG} : nixl_mem_list_t{DRAM_SEG};
    }

    bool supports(nixl_mem_t kind) const { return kind == DRAM_SEG || (kind == VRAM_SEG && has_accelerators); }

    nixl_status_t registerMem(const nixlBlobDesc& memory, const nixl_mem_t& kind, nixlBackendMD*& out) override {
        if (!supports(kind)) return NIXL_ERR_NOT_SUPPORTED;
        PmdRegion* region = nullptr;
        auto status =
            pmd_nixl_register(backend, kind == VRAM_SEG, memory.addr, memory.len, memory.devId, &region);
        if (status == NIXL_SUCCESS) out = new Region(region);
        return static_cast<nixl_status_t>(status);
    }

    nixl_status_t deregisterMem(nixlBackendMD* metadata) override {
        std::unique_ptr<Region> region(static_cast<Region*>(metadata));
        return static_cast<nixl_status_t>(pmd_nixl_deregister(backend, region->handle));
    }

    nixl_status_t connect(const std::string& agent) override {
        return static_cast<nixl_status_t>(pmd_nixl_connect(backend, bytes(agent)));
    }

    nixl_status_t disconnect(const std::string& agent) override {
        return static_cast<nixl_status_t>(pmd_nixl_disconnect(backend, bytes(agent)));
    }

    nixl_status_t unloadMD(nixlBackendMD* metadata) override {
        delete static_cast<Target*>(metadata);
        return NIXL_SUCCESS;
    }

    nixl_status_t prepXfer(const nixl_xfer_op_t& operation, const nixl_meta_dlist_t& local,
                           const nixl_meta_dlist_t& remote, const std::string& agent, nixlBackendReqH*& out,
                           const nixl_opt_b_args_t*) const override {
        if (local.descCount() != remote.descCount()) return NIXL_ERR_INVALID_PARAM;
        std::vector<PmdPair> pairs;
        pairs.reserve(static_cast<std::size_t>(local.descCount()));
        for (int index = 0; index < local.descCount(); ++index) {
            const nixlMetaDesc &here = local[index], &there = remote[index];
            pairs.push_back({here.addr, here.len, static_cast<const Region*>(here.metadataP)->handle, there.addr,
                             there.len, static_cast<const Target*>(there.metadataP)->handle});
        }
        PmdRequest* request = nullptr;
        auto status = pmd_nixl_prepare(backend, operation, pairs.data(), pairs.size(), bytes(agent), &request);
        if (status == NIXL_SUCCESS) out = new Request(request);
        return static_cast<nixl_status_t>(status);
    }

    nixl_status_t postXfer(const nixl_xfer_op_t&, const nixl_meta_dlist_t&, const nixl_meta_dlist_t&,
                           const std::string&, nixlBackendReqH*& request,
                           const nixl_opt_b_args_t* options) const override {
        PmdBytes message{};
        bool notifies = options && options->hasNotif;
        if (notifies) message = bytes(options->notifMsg);
        return static_cast<nixl_status_t>(pmd_nixl_post(Request::of(request), notifies ? &message : nullptr));
    }

    nixl_status_t checkXfer(nixlBackendReqH* request) const override {
        return static_cast<nixl_status_t>(pmd_nixl_check(Request::of(request)));
    }

    nixl_status_t releaseReqH(nixlBackendReqH* request) const override {
        auto status = pmd_nixl_release(Request::of(request));
        if (status == NIXL_SUCCESS) delete request;
        return static_cast<nixl_status_t>(status);
    }

    nixl_status_t getPublicData(const nixlBackendMD* metadata, std::string& data) const override {
        auto region = static_cast<const Region*>(metadata)->handle;
        return static_cast<nixl_status_t>(pmd_nixl_public_data(region, into(data)));
    }

    nixl_status_t getConnInfo(std::string& info) const override {
        return static_cast<nixl_status_t>(pmd_nixl_connection_info(backend, into(info)));
    }

    nixl_status_t loadRemoteConnInfo(const std::string& agent, const std::string& info) override {
        return static_cast<nixl_status_t>(pmd_nixl_load_connection_info(backend, bytes(agent), bytes(info)));
    }

    nixl_status_t loadRemoteMD(const nixlBlobDesc& memory, const nixl_mem_t& kind, const std::string& agent,
                               nixlBackendMD*& out) override {
        // What the remote agent has registered, on whichever device, is reached by its address and a key.
        if (kind != DRAM_SEG && kind != VRAM_SEG) return NIXL_ERR_NOT_SUPPORTED;
        PmdTarget* target = nullptr;
        auto status = pmd_nixl_load_remote(backend, bytes(agent), bytes(memory.metaInfo), &target);
        if (status == NIXL_SUCCESS) out = new Target(target);
        return static_cast<nixl_status_t>(status);
    }

    // Not the region itself: the agent may unload it after it has deregistered the region.
    nixl_status_t loadLocalMD(nixlBackendMD* metadata, nixlBackendMD*& out) override {
        PmdTarget* target = nullptr;
        auto status = pmd_nixl_load_local(backend, static_cast<Region*>(metadata)->handle, &target);
        if (status == NIXL_SUCCESS) out = new Target(target);
        return static_cast<nixl_status_t>(status);
    }

    nixl_status_t getNotifs(notif_list_t& notifications) override {
        return static_cast<nixl_status_t>(pmd_nixl_notifications(backend, collect(notifications)));
    }

    nixl_status_t genNotif(const std::string& agent, const std::string& message) const override {
        return static_cast<nixl_status_t>(pmd_nixl_notify(backend, bytes(agent), bytes(message)));
    }

    nixl_status_t estimateXferCost(const nixl_xfer_op_t&, const nixl_meta_dlist_t&, const nixl_meta_dlist_t&,
                                   const std::string&, nixlBackendReqH* const& request,
                                   std::chrono::microseconds& duration, std::chrono::microseconds& margin,
                                   nixl_cost_t& method, const nixl_opt_args_t*) const override {
        std::int64_t microseconds = 0, error = 0;
        auto status = pmd_nixl_estimate(Request::of(request), &microseconds, &error);
        duration = std::chrono::microseconds(microseconds);
        margin = std::chrono::microseconds(error);
        method = nixl_cost_t::ANALYTICAL_BACKEND;
        return static_cast<nixl_status_t>(status);
    }
};

// Whether the agent's parameters lie where the interface says: the name that it asked for is a short string, whose
// first word points to its own bytes.
bool laid_out_as_declared(const nixlBackendInitParams* given) {
    const auto* place = reinterpret_cast<const char*>(&given->type);
    const char* text;
    std::size_t length;
    std::memcpy(&text, place, sizeof text);
    std::memcpy(&length, place + sizeof text, sizeof length);
    return text == place + sizeof text + sizeof length && std::string_view(text, sizeof NAME - 1) == NAME &&
           length == sizeof NAME - 1 && given->customParams;
}

nixlBackendEngine* create(const nixlBackendInitParams* given) {
    if (!laid_out_as_declared(given)) {
        complain("the agent's parameters are not laid out as NIXL " PMD_NIXL_RELEASE "'s: build it for this NIXL");
        return nullptr;
    }
    try {
        return new Engine(given);
    } catch (const std::exception& error) {
        complain(error.what());
        return nullptr;
    }
}

void destroy(nixlBackendEngine* engine) { delete engine; }

nixl_b_params_t parameters() {
    notif_list_t pairs;
    pmd_nixl_parameters(collect(pairs));
    return {pairs.begin(), pairs.end()};
}

}  // namespace pmd

extern "C" NIXL_PLUGIN_EXPORT nixlBackendPlugin* nixl_plugin_init() {
    std::string problem;
    if (pmd_nixl_is_release(__builtin_return_address(0), pmd::bytes(PMD_NIXL_RELEASE), pmd::into(problem))) {
        pmd::complain(problem);
        return nullptr;
    }
    static nixlBackendPlugin plugin{
        NIXL_PLUGIN_API_VERSION,
        pmd::create,
        pmd::destroy,
        [] { return pmd::NAME; },
        [] { return PMD_VERSION; },
        pmd::parameters,
        [] { return nixl_mem_list_t{DRAM_SEG, VRAM_SEG}; },
    };
    return &plugin;
}

extern "C" NIXL_PLUGIN_EXPORT void nixl_plugin_fini() {}
