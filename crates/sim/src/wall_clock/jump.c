/* What the kernel does to a process when somebody sets the machine's clock, for one process alone.
 *
 * Loaded before the C library (LD_PRELOAD), it adds the number of nanoseconds in the file that WALL_CLOCK
 * names to the wall clock, read anew at each call: who writes the file sets the clock while the process runs.
 * CLOCK_MONOTONIC stays as it is, as it does for a machine. Waits for a time of the wall clock end when that
 * clock shows the time: after a step back that is hours later, unless somebody signals them.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL
/* How often a wait looks at the wall clock, nanoseconds. */
#define LOOK 20000000LL

static const int64_t none = 0;
static const int64_t *offset = &none;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("WALL_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
        abort();
    void *map = mmap(NULL, sizeof none, PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (map == MAP_FAILED)
        abort();
    offset = map;
}

static int64_t machine(clockid_t clock)
{
    struct timespec now;
    syscall(SYS_clock_gettime, clock, &now);
    return now.tv_sec * SECOND + now.tv_nsec;
}

static int64_t wall(void)
{
    return machine(CLOCK_REALTIME) + __atomic_load_n(offset, __ATOMIC_RELAXED);
}

static struct timespec parts(int64_t time)
{
    return (struct timespec){.tv_sec = time / SECOND, .tv_nsec = time % SECOND};
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    if (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE) {
        int result = (int)syscall(SYS_clock_gettime, clock, now);
        return result;
    }
    *now = parts(wall());
    return 0;
}

int gettimeofday(struct timeval *now, void *zone)
{
    (void)zone;
    int64_t time = wall();
    now->tv_sec = time / SECOND;
    now->tv_usec = time % SECOND / 1000;
    return 0;
}

time_t time(time_t *to)
{
    time_t now = wall() / SECOND;
    if (to)
        *to = now;
    return now;
}

int timespec_get(struct timespec *now, int base)
{
    *now = parts(wall());
    return base;
}

int pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *until)
{
    int64_t end = until->tv_sec * SECOND + until->tv_nsec;
    for (;;) {
        int64_t left = end - wall();
        if (left <= 0)
            return ETIMEDOUT;
        struct timespec look = parts(machine(CLOCK_MONOTONIC) + (left < LOOK ? left : LOOK));
        int result = pthread_cond_clockwait(cond, mutex, CLOCK_MONOTONIC, &look);
        if (result != ETIMEDOUT)
            return result;
    }
}

/* glibc's cnd_t and mtx_t are its pthread types by another name. */
int cnd_timedwait(cnd_t *cond, mtx_t *mutex, const struct timespec *until)
{
    int result = pthread_cond_timedwait((pthread_cond_t *)cond, (pthread_mutex_t *)mutex, until);
    return result == 0 ? thrd_success : result == ETIMEDOUT ? thrd_timedout : thrd_error;
}
