// The C functions between the shim and the Rust library: src/seam.rs defines them, engine.cpp calls them.
//
// Every function that returns a number returns a nixl_status_t. Bytes that are passed in are borrowed for the call. A
// sink is called before the function that it was given to returns.
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" {

struct PmdBackend;
struct PmdRegion;
struct PmdTarget;
struct PmdRequest;

struct PmdBytes {
    const void* data;
    std::size_t length;
};

// Takes a name and what belongs to it; the name is empty where there is only one thing to say.
struct PmdSink {
    void* context;
    void (*take)(void* context, PmdBytes name, PmdBytes value) noexcept;
};

struct PmdParameter {
    PmdBytes name;
    PmdBytes value;
};

// A descriptor of each side, with the registrations that hold them.
struct PmdPair {
    std::uint64_t local_address;
    std::uint64_t local_length;
    const PmdRegion* region;
    std::uint64_t remote_address;
    std::uint64_t remote_length;
    const PmdTarget* target;
};

// Whether the library that holds the address `caller` is NIXL's `release`; why not goes to `problem`.
std::int32_t pmd_nixl_is_release(const void* caller, PmdBytes release, PmdSink problem);

// Names of the parameters, each with nothing: that is the default.
void pmd_nixl_parameters(PmdSink parameters);
std::int32_t pmd_nixl_open(PmdBytes agent, const PmdParameter* parameters, std::size_t count, PmdBackend** backend,
                           PmdSink problem);
void pmd_nixl_close(PmdBackend* backend);

std::int32_t pmd_nixl_connection_info(const PmdBackend* backend, PmdSink info);
std::int32_t pmd_nixl_load_connection_info(const PmdBackend* backend, PmdBytes agent, PmdBytes info);
std::int32_t pmd_nixl_connect(const PmdBackend* backend, PmdBytes agent);
std::int32_t pmd_nixl_disconnect(const PmdBackend* backend, PmdBytes agent);

// Whether the back end was given accelerators, so that memory of devices can be registered.
bool pmd_nixl_has_accelerators(const PmdBackend* backend);
// `device` numbers the accelerator whose memory it is; it says nothing of memory of the host.
std::int32_t pmd_nixl_register(const PmdBackend* backend, bool is_device, std::uint64_t address, std::uint64_t length,
                               std::uint64_t device, PmdRegion** region);
// Frees the region. When it returns nothing touches the memory on this process's or a peer's behalf.
std::int32_t pmd_nixl_deregister(const PmdBackend* backend, PmdRegion* region);
std::int32_t pmd_nixl_public_data(const PmdRegion* region, PmdSink data);

// Memory of a remote agent, and this agent's own as the target of its own transfers.
std::int32_t pmd_nixl_load_remote(const PmdBackend* backend, PmdBytes agent, PmdBytes data, PmdTarget** target);
std::int32_t pmd_nixl_load_local(const PmdBackend* backend, const PmdRegion* region, PmdTarget** target);
void pmd_nixl_unload(PmdTarget* target);

std::int32_t pmd_nixl_prepare(const PmdBackend* backend, std::int32_t operation, const PmdPair* pairs,
                              std::size_t count, PmdBytes agent, PmdRequest** request);
// `notification` may be null.
std::int32_t pmd_nixl_post(const PmdRequest* request, const PmdBytes* notification);
std::int32_t pmd_nixl_check(const PmdRequest* request);
// Frees the request if it returns 0. A request that was refused once is freed the next time.
std::int32_t pmd_nixl_release(PmdRequest* request);
std::int32_t pmd_nixl_estimate(const PmdRequest* request, std::int64_t* microseconds, std::int64_t* margin);

std::int32_t pmd_nixl_notifications(const PmdBackend* backend, PmdSink notifications);
std::int32_t pmd_nixl_notify(const PmdBackend* backend, PmdBytes agent, PmdBytes message);
}
