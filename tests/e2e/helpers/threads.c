/* threads.c - what only a process with several threads can do.
 *
 *   threads create N            start and join N threads, one after the other; exit status 0
 *   threads leader-first N      waits for a line, then the main thread ends; once it has, "gone PID TID"
 *                               is written, and the other thread waits for a line, then exit(N)
 *   threads leader-first-exec PROGRAM ARG..    the same, but the other thread execs at last
 *   threads exec PROGRAM ARG..  a thread that is not the main one execs PROGRAM with ARG... */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static void *nothing(void *arg)
{
    return arg;
}

static int create(int count)
{
    for (; count > 0; count--) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, nothing, NULL) || pthread_join(thread, NULL))
            return 1;
    }
    return 0;
}

/* 1234 (name) Z ... */
static int main_thread_lives(void)
{
    char path[64], text[512] = "";
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", getpid());
    FILE *file = fopen(path, "r");
    if (!file)
        return 0;
    size_t len = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[len] = '\0';
    char *close = strrchr(text, ')');
    return close && close[2] != 'Z';
}

static void wait_for_line(void)
{
    char c;
    while (read(0, &c, 1) == 1 && c != '\n')
        ;
}

static void outlive(void)
{
    while (main_thread_lives())
        usleep(100);
    dprintf(1, "gone %d %ld\n", getpid(), (long)syscall(SYS_gettid));
    wait_for_line();
}

static void *outlive_and_end(void *arg)
{
    outlive();
    exit(*(int *)arg);
}

static void *become(void *arg)
{
    char **argv = arg;
    execv(argv[0], argv + 1);
    _exit(127);
}

static void *outlive_and_become(void *arg)
{
    outlive();
    return become(arg);
}

int main(int argc, char **argv)
{
    static int status;
    pthread_t thread;

    if (argc == 3 && !strcmp(argv[1], "create"))
        return create(atoi(argv[2]));
    if (argc == 3 && !strcmp(argv[1], "leader-first")) {
        status = atoi(argv[2]);
        if (pthread_create(&thread, NULL, outlive_and_end, &status))
            return 98;
        wait_for_line();
        pthread_exit(NULL);
    }
    if (argc > 3 && !strcmp(argv[1], "leader-first-exec")) {
        if (pthread_create(&thread, NULL, outlive_and_become, argv + 2))
            return 98;
        wait_for_line();
        pthread_exit(NULL);
    }
    if (argc > 3 && !strcmp(argv[1], "exec")) {
        if (pthread_create(&thread, NULL, become, argv + 2))
            return 98;
        pthread_join(thread, NULL);
        return 97; /* not reached: the exec ends this thread */
    }
    return 2;
}
