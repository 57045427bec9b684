/*
 * The native engine: a prefill process streams three blocks of every layer into a decode process's cache, each layer as
 * soon as it is computed, and the decode process goes on with each layer when it is in place.
 *
 *   gcc -std=c11 push_blocks.c $(pkg-config --cflags --libs pmd_kv) -o push_blocks
 *   ./push_blocks decode 127.0.0.1:27000 &
 *   ./push_blocks prefill 127.0.0.1:27000
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pmd_kv.h"

enum { TAG = 7, LAYERS = 4, TENSORS = 2, BLOCKS = 8, BLOCK_BYTES = 4096, MOVED = 3, PATIENCE_MS = 30000 };

static const pmd_kv_layout layout = {LAYERS, TENSORS, BLOCKS, BLOCK_BYTES, NULL};
static const uint32_t source[MOVED] = {0, 1, 2};
static const uint32_t destination[MOVED] = {7, 2, 5};

static void require(pmd_kv_status status, const char *what) {
  if (status != PMD_KV_STATUS_OK) {
    fprintf(stderr, "%s: status %d: %s\n", what, (int)status, pmd_kv_last_error());
    exit(1);
  }
}

static unsigned char *block(const pmd_kv_cache *cache, uint32_t tensor, uint32_t number) {
  void *address = NULL;
  require(pmd_kv_cache_block(cache, tensor, number, &address), "a block's address");
  return address;
}

/* What block `number` of a tensor holds at the sending side. */
static int content(uint32_t tensor, uint32_t number) { return (int)(16 * tensor + number + 1); }

/* Which block of the sending side went to this one, or -1. */
static int origin(uint32_t number) {
  for (int entry = 0; entry < MOVED; ++entry) {
    if (destination[entry] == number) {
      return (int)source[entry];
    }
  }
  return -1;
}

static void check(const pmd_kv_cache *cache) {
  for (uint32_t tensor = 0; tensor < LAYERS * TENSORS; ++tensor) {
    for (uint32_t number = 0; number < BLOCKS; ++number) {
      const int from = origin(number);
      const int wanted = from < 0 ? 0 : content(tensor, (uint32_t)from);
      const unsigned char *bytes = block(cache, tensor, number);
      for (size_t at = 0; at < BLOCK_BYTES; ++at) {
        if (bytes[at] != wanted) {
          fprintf(stderr, "byte %zu of block %u of tensor %u is %d, not %d\n", at, number, tensor, bytes[at], wanted);
          exit(1);
        }
      }
    }
  }
}

static void decode(const char *address) {
  pmd_kv_engine_options options = {0};
  options.name = "decode";
  options.listen = address;
  pmd_kv_engine *engine = NULL;
  pmd_kv_cache *cache = NULL;
  require(pmd_kv_engine_open(&options, &engine), "opening the engine");
  require(pmd_kv_cache_allocate(engine, "room", &layout, &cache), "allocating the cache");
  pmd_kv_peer *sender = NULL;
  require(pmd_kv_engine_accept(engine, PATIENCE_MS, &sender), "waiting for the other side");
  const pmd_kv_peer *const senders[] = {sender};
  pmd_kv_arrivals *arrivals = NULL;
  require(pmd_kv_expect_layers(engine, TAG, senders, 1, &arrivals), "expecting layers");
  for (uint32_t layer = 0; layer < LAYERS; ++layer) {
    require(pmd_kv_arrivals_wait(arrivals, layer, PATIENCE_MS), "waiting for a layer");
    printf("layer %u is in place\n", layer);
  }
  require(pmd_kv_arrivals_close(arrivals), "closing the expectation");
  require(pmd_kv_peer_release(sender), "releasing the sender");
  check(cache);
  /* The last layer is here before the other side knows that it is: that side closes first. */
  pmd_kv_peer *peer = NULL;
  require(pmd_kv_engine_wait_down(engine, PATIENCE_MS, &peer), "waiting until the other side is done");
  require(pmd_kv_peer_release(peer), "releasing the peer");
  require(pmd_kv_cache_release(cache), "releasing the cache");
  require(pmd_kv_engine_close(engine), "closing the engine");
  printf("%d blocks verified\n", LAYERS * TENSORS * MOVED);
}

/* The other process may not listen yet. */
static pmd_kv_peer *reach(const pmd_kv_engine *engine, const char *address) {
  pmd_kv_peer *peer = NULL;
  pmd_kv_status status = PMD_KV_STATUS_CONNECT_FAILED;
  for (int attempt = 0; attempt < 100 && status == PMD_KV_STATUS_CONNECT_FAILED; ++attempt) {
    status = pmd_kv_engine_connect(engine, address, &peer);
    if (status == PMD_KV_STATUS_CONNECT_FAILED) {
      pmd_kv_peer *nobody = NULL;
      (void)pmd_kv_engine_accept(engine, 100, &nobody); /* waits for 100 ms */
    }
  }
  require(status, "connecting");
  return peer;
}

static pmd_kv_remote_cache *look_up(const pmd_kv_engine *engine, const pmd_kv_peer *peer) {
  pmd_kv_remote_cache *remote = NULL;
  pmd_kv_status status = PMD_KV_STATUS_NOT_FOUND;
  for (int attempt = 0; attempt < 100 && status == PMD_KV_STATUS_NOT_FOUND; ++attempt) {
    status = pmd_kv_remote_cache_open(engine, peer, "room", PATIENCE_MS, &remote);
    if (status == PMD_KV_STATUS_NOT_FOUND) {
      pmd_kv_peer *nobody = NULL;
      (void)pmd_kv_engine_accept(engine, 100, &nobody);
    }
  }
  require(status, "looking up the cache");
  return remote;
}

static void compute(const pmd_kv_cache *cache, uint32_t layer) {
  for (uint32_t tensor = layer * TENSORS; tensor < (layer + 1) * TENSORS; ++tensor) {
    for (uint32_t number = 0; number < BLOCKS; ++number) {
      memset(block(cache, tensor, number), content(tensor, number), BLOCK_BYTES);
    }
  }
}

static void prefill(const char *address) {
  pmd_kv_engine *engine = NULL;
  pmd_kv_cache *cache = NULL;
  require(pmd_kv_engine_open(NULL, &engine), "opening the engine");
  require(pmd_kv_cache_allocate(engine, "computed", &layout, &cache), "allocating the cache");
  pmd_kv_peer *peer = reach(engine, address);
  pmd_kv_remote_cache *remote = look_up(engine, peer);
  const pmd_kv_selection selection = {.source = source, .destination = destination, .count = MOVED};
  const pmd_kv_stream_options options = {.tag = TAG, .deadline_ms = PATIENCE_MS};
  pmd_kv_stream *stream = NULL;
  require(pmd_kv_stream_open(remote, cache, &selection, &options, &stream), "opening the stream");
  for (uint32_t layer = 0; layer < LAYERS; ++layer) {
    compute(cache, layer);
    require(pmd_kv_stream_release(stream, layer), "releasing a layer");
  }
  uint64_t bytes = 0;
  require(pmd_kv_stream_wait(stream, PATIENCE_MS, &bytes), "waiting for the last layer");
  require(pmd_kv_stream_close(stream), "closing the stream");
  if (bytes != LAYERS * TENSORS * MOVED * BLOCK_BYTES) {
    fprintf(stderr, "%llu bytes moved\n", (unsigned long long)bytes);
    exit(1);
  }
  char transport[16] = "";
  require(pmd_kv_peer_transport(peer, transport, sizeof(transport), NULL), "the transport's name");
  printf("pushed %d layers over %s\n", LAYERS, transport);
  require(pmd_kv_remote_cache_release(remote), "releasing the remote cache");
  require(pmd_kv_cache_release(cache), "releasing the cache");
  require(pmd_kv_peer_release(peer), "releasing the peer");
  require(pmd_kv_engine_close(engine), "closing the engine");
}

int main(int argc, char **argv) {
  if (argc == 3 && strcmp(argv[1], "decode") == 0) {
    decode(argv[2]);
  } else if (argc == 3 && strcmp(argv[1], "prefill") == 0) {
    prefill(argv[2]);
  } else {
    fprintf(stderr, "usage: %s decode|prefill IP:PORT\n", argv[0]);
    return 2;
  }
  return 0;
}
