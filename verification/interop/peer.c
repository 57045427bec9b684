/*
 * The other side of an exchange: a verbs program that knows nothing of our driver.
 *
 * It opens one device, makes one reliable queue pair, and does what it is told, a command a line on standard input; it
 * answers each with one line on standard output. Started and told by the package `interop`, whose `peer` module has
 * the same commands in Rust.
 *
 *   peer DEVICE PORT GID_INDEX [srq]      GID_INDEX -1: no GID, packets go by LID
 *
 *   connect LID QPN PSN GID MTU           GID as 32 digits            -> ok
 *   fill SEED OFFSET LENGTH               writes a pattern            -> ok
 *   check SEED OFFSET LENGTH              compares with a pattern     -> ok | differs INDEX FOUND EXPECTED
 *   word OFFSET [VALUE]                   reads or writes 8 bytes     -> word VALUE
 *   receive ID OFFSET LENGTH              posts a receive             -> ok
 *   received                              waits for a receive         -> received ID STATUS OPCODE LENGTH IMM|-
 *   write|read|send OFFSET LENGTH ADDRESS RKEY                        -> done STATUS OPCODE
 *   write_imm|send_imm OFFSET LENGTH ADDRESS RKEY IMM                 -> done STATUS OPCODE
 *   swap OFFSET ADDRESS RKEY COMPARE VALUE                            -> done STATUS OPCODE
 *   add OFFSET ADDRESS RKEY VALUE                                     -> done STATUS OPCODE
 *   quit
 *
 * A first answer says who it is: `peer LID QPN PSN GID ADDRESS RKEY LENGTH`. What fails in another way than by a
 * completion is answered by `error WHAT` and ends the program.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/prctl.h>
#include <signal.h>
#include <endian.h>
#include <infiniband/verbs.h>

enum {
	BUFFER_BYTES = 4 << 20,
	DEPTH = 64,
	ENTRIES = 4,
	INLINE_BYTES = 64,
	PATIENCE_SECONDS = 20,
	LINE_BYTES = 512,
};

/* Requests of the send queue have this number; receives have those they are given. */
static const uint64_t SENT = UINT64_MAX;

struct side {
	struct ibv_context *context;
	struct ibv_pd *domain;
	struct ibv_cq *send_completions;
	struct ibv_cq *receive_completions;
	struct ibv_srq *shared;
	struct ibv_qp *queue_pair;
	struct ibv_mr *region;
	unsigned char *buffer;
	struct ibv_port_attr attributes;
	int port;
	int gid_index;
	union ibv_gid gid;
	uint32_t sequence;
};

static void answer(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	putchar('\n');
	fflush(stdout);
}

static void fail(const char *what)
{
	answer("error %s: %s", what, strerror(errno));
	exit(1);
}

/* Byte of a pattern; `interop` has the same. */
static unsigned char pattern(unsigned seed, size_t index)
{
	return (unsigned char)(index * 7 + seed * 31 + (index >> 8) * 13);
}

static int inside(uint64_t offset, uint64_t length)
{
	return offset <= BUFFER_BYTES && length <= BUFFER_BYTES - offset;
}

static struct ibv_context *open_device(const char *name)
{
	struct ibv_device **list = ibv_get_device_list(NULL);
	struct ibv_context *context = NULL;

	for (int i = 0; list && list[i]; i++)
		if (!strcmp(ibv_get_device_name(list[i]), name))
			context = ibv_open_device(list[i]);
	if (!context)
		fail("no such device");
	ibv_free_device_list(list);
	return context;
}

static void create_queues(struct side *side, int use_shared)
{
	struct ibv_srq_init_attr shared = { .attr = { .max_wr = DEPTH, .max_sge = ENTRIES } };
	struct ibv_qp_init_attr attributes = {
		.cap = {
			.max_send_wr = DEPTH,
			.max_recv_wr = DEPTH,
			.max_send_sge = ENTRIES,
			.max_recv_sge = ENTRIES,
			.max_inline_data = INLINE_BYTES,
		},
		.qp_type = IBV_QPT_RC,
	};

	side->send_completions = ibv_create_cq(side->context, DEPTH, NULL, NULL, 0);
	side->receive_completions = ibv_create_cq(side->context, DEPTH, NULL, NULL, 0);
	if (!side->send_completions || !side->receive_completions)
		fail("ibv_create_cq");
	if (use_shared) {
		side->shared = ibv_create_srq(side->domain, &shared);
		if (!side->shared)
			fail("ibv_create_srq");
	}
	attributes.send_cq = side->send_completions;
	attributes.recv_cq = side->receive_completions;
	attributes.srq = side->shared;
	side->queue_pair = ibv_create_qp(side->domain, &attributes);
	if (!side->queue_pair)
		fail("ibv_create_qp");
}

static void open_side(struct side *side, char **arguments, int use_shared)
{
	const int access = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ |
			   IBV_ACCESS_REMOTE_ATOMIC;

	side->context = open_device(arguments[1]);
	side->port = atoi(arguments[2]);
	side->gid_index = atoi(arguments[3]);
	if (ibv_query_port(side->context, side->port, &side->attributes))
		fail("ibv_query_port");
	if (side->gid_index >= 0 && ibv_query_gid(side->context, side->port, side->gid_index, &side->gid))
		fail("ibv_query_gid");
	side->domain = ibv_alloc_pd(side->context);
	side->buffer = aligned_alloc(4096, BUFFER_BYTES);
	if (!side->domain || !side->buffer)
		fail("allocating");
	memset(side->buffer, 0, BUFFER_BYTES);
	side->region = ibv_reg_mr(side->domain, side->buffer, BUFFER_BYTES, access);
	if (!side->region)
		fail("ibv_reg_mr");
	create_queues(side, use_shared);
	side->sequence = (uint32_t)(time(NULL) * 7919 + getpid()) & 0xffffff;
}

static void introduce(const struct side *side)
{
	char gid[33];

	for (int i = 0; i < 16; i++)
		sprintf(gid + 2 * i, "%02x", side->gid.raw[i]);
	answer("peer %x %x %x %s %" PRIx64 " %x %x", side->attributes.lid, side->queue_pair->qp_num, side->sequence,
	       gid, (uint64_t)(uintptr_t)side->buffer, side->region->rkey, BUFFER_BYTES);
}

static enum ibv_mtu mtu_code(unsigned bytes)
{
	switch (bytes) {
	case 256: return IBV_MTU_256;
	case 512: return IBV_MTU_512;
	case 1024: return IBV_MTU_1024;
	case 2048: return IBV_MTU_2048;
	default: return IBV_MTU_4096;
	}
}

static void to_init(struct side *side)
{
	struct ibv_qp_attr attributes = {
		.qp_state = IBV_QPS_INIT,
		.port_num = side->port,
		.qp_access_flags = IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC,
	};

	if (ibv_modify_qp(side->queue_pair, &attributes,
			  IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS))
		fail("to INIT");
}

static void to_receive(struct side *side, unsigned lid, unsigned number, unsigned sequence, const union ibv_gid *gid,
		       unsigned mtu)
{
	struct ibv_qp_attr attributes = {
		.qp_state = IBV_QPS_RTR,
		.path_mtu = mtu_code(mtu),
		.dest_qp_num = number,
		.rq_psn = sequence,
		.max_dest_rd_atomic = 4,
		.min_rnr_timer = 12,
		.ah_attr = { .dlid = lid, .port_num = side->port },
	};

	if (side->gid_index >= 0) {
		attributes.ah_attr.is_global = 1;
		attributes.ah_attr.grh.dgid = *gid;
		attributes.ah_attr.grh.sgid_index = side->gid_index;
		attributes.ah_attr.grh.hop_limit = 64;
	}
	if (ibv_modify_qp(side->queue_pair, &attributes,
			  IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
			  IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER))
		fail("to RTR");
}

static void to_send(struct side *side)
{
	struct ibv_qp_attr attributes = {
		.qp_state = IBV_QPS_RTS,
		.timeout = 14,
		.retry_cnt = 6,
		.rnr_retry = 7,
		.sq_psn = side->sequence,
		.max_rd_atomic = 4,
	};

	if (ibv_modify_qp(side->queue_pair, &attributes,
			  IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY | IBV_QP_SQ_PSN |
			  IBV_QP_MAX_QP_RD_ATOMIC))
		fail("to RTS");
}

static void connect_side(struct side *side, const char *rest)
{
	unsigned lid, number, sequence, mtu;
	char text[33];
	union ibv_gid gid;

	if (sscanf(rest, "%x %x %x %32s %u", &lid, &number, &sequence, text, &mtu) != 5 || strlen(text) != 32)
		fail("connect LID QPN PSN GID MTU");
	for (int i = 0; i < 16; i++) {
		unsigned byte;

		if (sscanf(text + 2 * i, "%2x", &byte) != 1)
			fail("a GID has 32 digits");
		gid.raw[i] = (uint8_t)byte;
	}
	to_init(side);
	to_receive(side, lid, number, sequence, &gid, mtu);
	to_send(side);
	answer("ok");
}

static void fill(struct side *side, const char *rest)
{
	unsigned seed;
	uint64_t offset, length;

	if (sscanf(rest, "%u %" SCNu64 " %" SCNu64, &seed, &offset, &length) != 3 || !inside(offset, length))
		fail("fill SEED OFFSET LENGTH");
	for (uint64_t i = 0; i < length; i++)
		side->buffer[offset + i] = pattern(seed, i);
	answer("ok");
}

static void check(struct side *side, const char *rest)
{
	unsigned seed;
	uint64_t offset, length;

	if (sscanf(rest, "%u %" SCNu64 " %" SCNu64, &seed, &offset, &length) != 3 || !inside(offset, length))
		fail("check SEED OFFSET LENGTH");
	for (uint64_t i = 0; i < length; i++) {
		if (side->buffer[offset + i] != pattern(seed, i)) {
			answer("differs %" PRIu64 " %02x %02x", i, side->buffer[offset + i], pattern(seed, i));
			return;
		}
	}
	answer("ok");
}

static void word(struct side *side, const char *rest)
{
	uint64_t offset, value;
	int given = sscanf(rest, "%" SCNu64 " %" SCNx64, &offset, &value);

	if (given < 1 || !inside(offset, sizeof value))
		fail("word OFFSET [VALUE]");
	if (given == 2)
		memcpy(side->buffer + offset, &value, sizeof value);
	memcpy(&value, side->buffer + offset, sizeof value);
	answer("word %" PRIx64, value);
}

/* Waits for one completion, with a bound. */
static struct ibv_wc wait_for(struct ibv_cq *queue)
{
	struct ibv_wc completion;
	const time_t deadline = time(NULL) + PATIENCE_SECONDS;

	for (;;) {
		int count = ibv_poll_cq(queue, 1, &completion);

		if (count < 0)
			fail("ibv_poll_cq");
		if (count == 1)
			return completion;
		if (time(NULL) > deadline)
			fail("nothing completed in time");
		usleep(50);
	}
}

static void receive(struct side *side, const char *rest)
{
	uint64_t id, offset, length;
	struct ibv_sge entry;
	struct ibv_recv_wr request = { .sg_list = &entry, .num_sge = 1 }, *bad;

	if (sscanf(rest, "%" SCNu64 " %" SCNu64 " %" SCNu64, &id, &offset, &length) != 3 || !inside(offset, length))
		fail("receive ID OFFSET LENGTH");
	entry = (struct ibv_sge){ (uintptr_t)side->buffer + offset, (uint32_t)length, side->region->lkey };
	request.wr_id = id;
	errno = side->shared ? ibv_post_srq_recv(side->shared, &request, &bad)
			     : ibv_post_recv(side->queue_pair, &request, &bad);
	if (errno)
		fail("posting a receive");
	answer("ok");
}

static void received(struct side *side)
{
	struct ibv_wc completion = wait_for(side->receive_completions);
	char immediate[16] = "-";

	if (completion.status == IBV_WC_SUCCESS && completion.wc_flags & IBV_WC_WITH_IMM)
		sprintf(immediate, "%x", be32toh(completion.imm_data));
	answer("received %" PRIu64 " %d %d %u %s", completion.wr_id, completion.status, completion.opcode,
	       completion.byte_len, immediate);
}

/* Posts one request and waits for its completion. */
static void run(struct side *side, struct ibv_send_wr *request, uint64_t offset, uint64_t length)
{
	struct ibv_sge entry = { (uintptr_t)side->buffer + offset, (uint32_t)length, side->region->lkey };
	struct ibv_send_wr *bad;
	struct ibv_wc completion;

	if (!inside(offset, length))
		fail("beyond the buffer");
	request->wr_id = SENT;
	request->sg_list = &entry;
	request->num_sge = length ? 1 : 0;
	request->send_flags |= IBV_SEND_SIGNALED;
	errno = ibv_post_send(side->queue_pair, request, &bad);
	if (errno)
		fail("ibv_post_send");
	completion = wait_for(side->send_completions);
	if (completion.wr_id != SENT)
		fail("completion of a request that was not posted");
	answer("done %d %d", completion.status, completion.opcode);
}

static int is_send(enum ibv_wr_opcode opcode)
{
	return opcode == IBV_WR_SEND || opcode == IBV_WR_SEND_WITH_IMM;
}

static void transfer(struct side *side, enum ibv_wr_opcode opcode, int has_immediate, const char *rest)
{
	struct ibv_send_wr request = { .opcode = opcode };
	uint64_t offset, length, address;
	unsigned key, immediate = 0;
	int given = sscanf(rest, "%" SCNu64 " %" SCNu64 " %" SCNx64 " %x %x", &offset, &length, &address, &key,
			   &immediate);

	if (given != 4 + has_immediate)
		fail("OFFSET LENGTH ADDRESS RKEY [IMM]");
	if (has_immediate)
		request.imm_data = htobe32(immediate);
	if (!is_send(opcode)) {
		request.wr.rdma.remote_addr = address;
		request.wr.rdma.rkey = key;
	}
	if (opcode != IBV_WR_RDMA_READ && length && length <= INLINE_BYTES)
		request.send_flags = IBV_SEND_INLINE;
	run(side, &request, offset, length);
}

static void atomic(struct side *side, enum ibv_wr_opcode opcode, const char *rest)
{
	struct ibv_send_wr request = { .opcode = opcode };
	uint64_t offset, address, first, second = 0;
	unsigned key;
	int given = sscanf(rest, "%" SCNu64 " %" SCNx64 " %x %" SCNx64 " %" SCNx64, &offset, &address, &key, &first,
			   &second);

	if (given != (opcode == IBV_WR_ATOMIC_CMP_AND_SWP ? 5 : 4))
		fail("OFFSET ADDRESS RKEY OPERANDS");
	request.wr.atomic.remote_addr = address;
	request.wr.atomic.rkey = key;
	request.wr.atomic.compare_add = first;
	request.wr.atomic.swap = second;
	run(side, &request, offset, sizeof(uint64_t));
}

/* Does what a line says; false at the end. */
static int obey(struct side *side, const char *command, const char *rest)
{
	if (!strcmp(command, "connect"))
		connect_side(side, rest);
	else if (!strcmp(command, "fill"))
		fill(side, rest);
	else if (!strcmp(command, "check"))
		check(side, rest);
	else if (!strcmp(command, "word"))
		word(side, rest);
	else if (!strcmp(command, "receive"))
		receive(side, rest);
	else if (!strcmp(command, "received"))
		received(side);
	else if (!strcmp(command, "write"))
		transfer(side, IBV_WR_RDMA_WRITE, 0, rest);
	else if (!strcmp(command, "write_imm"))
		transfer(side, IBV_WR_RDMA_WRITE_WITH_IMM, 1, rest);
	else if (!strcmp(command, "read"))
		transfer(side, IBV_WR_RDMA_READ, 0, rest);
	else if (!strcmp(command, "send"))
		transfer(side, IBV_WR_SEND, 0, rest);
	else if (!strcmp(command, "send_imm"))
		transfer(side, IBV_WR_SEND_WITH_IMM, 1, rest);
	else if (!strcmp(command, "swap"))
		atomic(side, IBV_WR_ATOMIC_CMP_AND_SWP, rest);
	else if (!strcmp(command, "add"))
		atomic(side, IBV_WR_ATOMIC_FETCH_AND_ADD, rest);
	else if (!strcmp(command, "quit"))
		return 0;
	else
		fail("unknown command");
	return 1;
}

static void close_side(struct side *side)
{
	if (ibv_destroy_qp(side->queue_pair) || (side->shared && ibv_destroy_srq(side->shared)) ||
	    ibv_destroy_cq(side->send_completions) || ibv_destroy_cq(side->receive_completions) ||
	    ibv_dereg_mr(side->region) || ibv_dealloc_pd(side->domain) || ibv_close_device(side->context))
		fail("closing");
	free(side->buffer);
}

int main(int count, char **arguments)
{
	struct side side = { 0 };
	char line[LINE_BYTES], command[32];
	int used;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (count < 4 || count > 5)
		fail("peer DEVICE PORT GID_INDEX [srq]");
	open_side(&side, arguments, count == 5);
	introduce(&side);
	while (fgets(line, sizeof line, stdin)) {
		if (sscanf(line, "%31s%n", command, &used) != 1)
			continue;
		if (!obey(&side, command, line + used))
			break;
	}
	close_side(&side);
	answer("closed");
	return 0;
}
