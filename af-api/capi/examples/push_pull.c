/*
 * Scheduler, server and worker in C: a worker pushes a tensor, and the server answers with each number plus one.
 *
 *   gcc -std=c11 push_pull.c $(pkg-config --cflags --libs pmd_af) -o push_pull
 *   export DMLC_NUM_WORKER=1 DMLC_NUM_SERVER=1 DMLC_PS_ROOT_URI=127.0.0.1 DMLC_PS_ROOT_PORT=8123
 *   DMLC_ROLE=scheduler ./push_pull & DMLC_ROLE=server ./push_pull & DMLC_ROLE=worker ./push_pull
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pmd_af.h"

enum { ROWS = 4, COLUMNS = 256, NUMBERS = ROWS * COLUMNS, ROUNDS = 16, PATIENCE_MS = 30000 };

static const int64_t shape[2] = {ROWS, COLUMNS};

static void require(pmd_af_status status, const char *what) {
  if (status != PMD_AF_STATUS_OK) {
    fprintf(stderr, "%s: status %d: %s\n", what, (int)status, pmd_af_last_error());
    exit(1);
  }
}

/* 32-bit floating points of the shape. */
static pmd_af_keyed_tensor tensor_of(uint64_t key, const pmd_af_memory *memory, void *data) {
  pmd_af_keyed_tensor keyed;
  memset(&keyed, 0, sizeof(keyed));
  keyed.key = key;
  keyed.memory = memory;
  keyed.tensor.data = data;
  keyed.tensor.device_type = 1;
  keyed.tensor.dimensions = 2;
  keyed.tensor.type_code = 2;
  keyed.tensor.type_bits = 32;
  keyed.tensor.type_lanes = 1;
  keyed.tensor.shape = shape;
  return keyed;
}

static void schedule(void) {
  pmd_af_scheduler *scheduler = NULL;
  require(pmd_af_scheduler_start(NULL, &scheduler), "starting the scheduler");
  require(pmd_af_scheduler_wait_finished(scheduler, PATIENCE_MS), "waiting for the others to leave");
  require(pmd_af_scheduler_close(scheduler), "closing the scheduler");
}

static void answer(pmd_af_incoming *request, const pmd_af_memory *memory, float *numbers) {
  pmd_af_keyed_tensor pushed;
  require(pmd_af_incoming_push(request, 0, &pushed), "the pushed tensor");
  if (pushed.bytes != NUMBERS * sizeof(float) || pushed.tensor.dimensions != 2 || pushed.tensor.type_bits != 32) {
    fprintf(stderr, "another tensor came than was pushed\n");
    exit(1);
  }
  const float *given = pushed.tensor.data;
  for (int at = 0; at < NUMBERS; ++at) {
    numbers[at] = given[at] + 1.0F;
  }
  const pmd_af_keyed_tensor sum = tensor_of(1, memory, numbers);
  pmd_af_response *response = NULL;
  require(pmd_af_respond(request, &sum, 1, &response), "responding");
  require(pmd_af_response_wait(response, PATIENCE_MS), "waiting for the response");
  require(pmd_af_response_release(response), "releasing the response");
  require(pmd_af_incoming_release(request), "releasing the request");
}

static void serve(void) {
  pmd_af_node *node = NULL;
  pmd_af_memory *memory = NULL;
  void *numbers = NULL;
  require(pmd_af_node_start(NULL, &node), "starting the server");
  require(pmd_af_memory_allocate(node, NUMBERS * sizeof(float), &memory, &numbers), "allocating");
  for (int round = 0; round < ROUNDS; ++round) {
    pmd_af_incoming *request = NULL;
    size_t count = 0;
    require(pmd_af_get_batch(node, PMD_AF_GATHER_ALL, 0, PATIENCE_MS, &request, 1, &count), "waiting for a request");
    answer(request, memory, numbers);
  }
  require(pmd_af_node_barrier(node, "done", PMD_AF_SERVERS | PMD_AF_WORKERS, PMD_AF_SCOPE_EVERYONE, 0, PATIENCE_MS),
          "the last barrier");
  require(pmd_af_memory_release(memory), "releasing the memory");
  require(pmd_af_node_leave(node, PATIENCE_MS), "leaving");
}

static void work(void) {
  pmd_af_node *node = NULL;
  pmd_af_memory *memory = NULL;
  void *address = NULL;
  require(pmd_af_node_start(NULL, &node), "starting the worker");
  require(pmd_af_memory_allocate(node, 2 * NUMBERS * sizeof(float), &memory, &address), "allocating");
  float *pushed = address;
  float *pulled = pushed + NUMBERS;
  for (int round = 0; round < ROUNDS; ++round) {
    for (int at = 0; at < NUMBERS; ++at) {
      pushed[at] = (float)(round * NUMBERS + at);
    }
    const pmd_af_keyed_tensor push = tensor_of(0, memory, pushed);
    const pmd_af_keyed_tensor pull = tensor_of(1, memory, pulled);
    pmd_af_request *request = NULL;
    require(pmd_af_push_pull(node, &push, 1, &pull, 1, NULL, &request), "pushing and pulling");
    require(pmd_af_request_wait(request, PATIENCE_MS), "waiting for the answer");
    require(pmd_af_request_release(request), "releasing the request");
    for (int at = 0; at < NUMBERS; ++at) {
      if (pulled[at] != pushed[at] + 1.0F) {
        fprintf(stderr, "number %d of round %d is %f\n", at, round, (double)pulled[at]);
        exit(1);
      }
    }
  }
  require(pmd_af_node_barrier(node, "done", PMD_AF_SERVERS | PMD_AF_WORKERS, PMD_AF_SCOPE_EVERYONE, 0, PATIENCE_MS),
          "the last barrier");
  require(pmd_af_memory_release(memory), "releasing the memory");
  require(pmd_af_node_leave(node, PATIENCE_MS), "leaving");
  printf("%d answers of %d numbers are right\n", ROUNDS, NUMBERS);
}

/* Everything else is as the environment says, too. */
int main(void) {
  const char *role = getenv("DMLC_ROLE");
  if (role != NULL && strcmp(role, "scheduler") == 0) {
    schedule();
  } else if (role != NULL && strcmp(role, "server") == 0) {
    serve();
  } else if (role != NULL && strcmp(role, "worker") == 0) {
    work();
  } else {
    fprintf(stderr, "DMLC_ROLE is scheduler, server or worker\n");
    return 2;
  }
  return 0;
}
