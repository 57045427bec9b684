// What std's locks order where they wait, told to the thread sanitiser.
//
// The toolchain's standard library is not instrumented. Locking and unlocking that need not wait are inlined into code
// that is; the functions below are not, so that what they acquire or release goes unseen and what a contended lock
// hands over looks like a race. The linker sends every call of them here (`--wrap`), their names are given on the
// command line (edges.rs), and their signatures are those of library/std/src/sys/sync in the toolchain's source.

#include <stdbool.h>
#include <stdint.h>

void __tsan_acquire(void *address);
void __tsan_release(void *address);

#define PASTE(one, other) one##other
#define NAME(prefix, function) PASTE(prefix, function)
#define REAL(function) NAME(__real_, function)
#define WRAP(function) NAME(__wrap_, function)

// Mutex::lock_contended(&self), RwLock::read_contended(&self), RwLock::write_contended(&self)
#define LOCKS(function)          \
    void REAL(function)(void *); \
    void WRAP(function)(void *lock) { REAL(function)(lock); __tsan_acquire(lock); }

LOCKS(MUTEX_LOCK)
LOCKS(RWLOCK_READ)
LOCKS(RWLOCK_WRITE)

// Condvar::wait(&self, &Mutex): unlocks, waits, locks.
void REAL(CONDVAR_WAIT)(void *, void *);
void WRAP(CONDVAR_WAIT)(void *condvar, void *mutex)
{
    __tsan_release(mutex);
    REAL(CONDVAR_WAIT)(condvar, mutex);
    __tsan_acquire(mutex);
}

// Condvar::wait_timeout(&self, &Mutex, Duration) -> bool
bool REAL(CONDVAR_WAIT_TIMEOUT)(void *, void *, uint64_t, uint32_t);
bool WRAP(CONDVAR_WAIT_TIMEOUT)(void *condvar, void *mutex, uint64_t seconds, uint32_t nanoseconds)
{
    __tsan_release(mutex);
    bool notified = REAL(CONDVAR_WAIT_TIMEOUT)(condvar, mutex, seconds, nanoseconds);
    __tsan_acquire(mutex);
    return notified;
}

// Once::call(&self, bool, &mut dyn FnMut(&OnceState)): what the closure wrote is released before the state says that
// it is done, that is, at the closure's end.
struct initialiser {
    void *closure;
    void *const *table;
    void *once;
};

// Of a table of methods: drop, size, alignment, FnOnce::call_once, FnMut::call_mut.
enum { CALL_MUT = 4, ENTRIES };

static void initialise(struct initialiser *this, void *state)
{
    ((void (*)(void *, void *))this->table[CALL_MUT])(this->closure, state);
    __tsan_release(this->once);
}

void REAL(ONCE_CALL)(void *, bool, void *, void *const *);
void WRAP(ONCE_CALL)(void *once, bool ignore_poison, void *closure, void *const *table)
{
    struct initialiser initialiser = {closure, table, once};
    void *const own[ENTRIES] = {0, (void *)sizeof(initialiser), (void *)_Alignof(struct initialiser), 0, (void *)initialise};
    REAL(ONCE_CALL)(once, ignore_poison, &initialiser, own);
    __tsan_acquire(once);
}

// ScopeData::decrement_num_running_threads(&self, bool): `thread::scope` acquires the count, which is one of the first
// two words.
void REAL(SCOPE_END)(void **, bool);
void WRAP(SCOPE_END)(void **scope, bool panicked)
{
    __tsan_release(scope);
    __tsan_release(scope + 1);
    REAL(SCOPE_END)(scope, panicked);
}
