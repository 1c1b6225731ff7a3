/* terminal.c - the terminal as a screen of our own, given back on every way out. See terminal.h. */
#include "cli/terminal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

static struct termios before;
static volatile sig_atomic_t taken, ended, changed;

static const char enter[] = "\x1b[?1049h\x1b[?25l\x1b[H\x1b[2J";
static const char leave[] = "\x1b[0m\x1b[?25h\x1b[?1049l";

static void put(const char *bytes, size_t len)
{
    while (len) {
        ssize_t put = write(STDOUT_FILENO, bytes, len);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return;
        bytes += put;
        len -= (size_t)put;
    }
}

static void set_up(void)
{
    struct termios raw = before;
    raw.c_lflag &= (tcflag_t) ~(ICANON | ECHO); /* ISIG stays: Ctrl-C and Ctrl-Z are signals */
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    taken = 1;
    tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    put(enter, sizeof enter - 1);
}

/* Also in a signal handler: tcsetattr and write are safe there. */
void terminal_give(void)
{
    int error = errno;
    if (taken) {
        taken = 0;
        tcsetattr(STDIN_FILENO, TCSANOW, &before);
        put(leave, sizeof leave - 1);
    }
    errno = error;
}

/* --- signals -------------------------------------------------------------------------------------- */

static void on_end(int number)
{
    (void)number;
    ended = 1;
}

static void on_change(int number)
{
    (void)number;
    changed = 1;
}

/* A defect of ours: the terminal first, then as it would have been. */
static void on_crash(int number)
{
    terminal_give();
    signal(number, SIG_DFL);
    raise(number);
}

/* Ctrl-Z: the shell gets the terminal as it was, and we take it again when we go on. */
static void on_stop(int number)
{
    terminal_give();
    signal(SIGTSTP, SIG_DFL);
    sigset_t only;
    sigemptyset(&only);
    sigaddset(&only, SIGTSTP);
    raise(number);
    sigprocmask(SIG_UNBLOCK, &only, NULL); /* here it stops */
    struct sigaction again = { .sa_handler = on_stop };
    sigaction(SIGTSTP, &again, NULL);
    set_up();
    changed = 1;
}

static void handle(int number, void (*handler)(int))
{
    struct sigaction action = { .sa_handler = handler };
    sigaction(number, &action, NULL);
}

bool terminal_take(void)
{
    if (!isatty(STDOUT_FILENO) || tcgetattr(STDIN_FILENO, &before) < 0)
        return false;
    atexit(terminal_give);
    handle(SIGINT, on_end);
    handle(SIGTERM, on_end);
    handle(SIGHUP, on_end);
    handle(SIGQUIT, on_end);
    handle(SIGWINCH, on_change);
    handle(SIGTSTP, on_stop);
    handle(SIGSEGV, on_crash);
    handle(SIGBUS, on_crash);
    handle(SIGABRT, on_crash);
    set_up();
    return true;
}

/* --- keys ------------------------------------------------------------------------------------------ */

double terminal_clock(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int read_key(void)
{
    unsigned char key;
    ssize_t got = read(STDIN_FILENO, &key, 1);
    if (got < 0 && (errno == EINTR || errno == EAGAIN))
        return 0;
    return got == 1 ? key : -1;
}

/* A signal that comes just before the wait is seen when that ends: signals are blocked but for it. */
int terminal_key(double seconds)
{
    struct pollfd key = { .fd = STDIN_FILENO, .events = POLLIN };
    sigset_t all, as_ever;
    sigfillset(&all);
    double until = terminal_clock() + seconds;
    int result = 0, ready = 0;
    sigprocmask(SIG_BLOCK, &all, &as_ever);
    while (!ended && !changed && ready <= 0) {
        double left = until - terminal_clock();
        struct timespec span = { .tv_sec = (time_t)(left > 0 ? left : 0) };
        span.tv_nsec = (long)((left - (double)span.tv_sec) * 1e9);
        if (left <= 0)
            break;
        ready = ppoll(&key, 1, &span, &as_ever);
        if (ready < 0 && errno != EINTR)
            ended = 1;
    }
    if (ended)
        result = -1;
    else if (changed)
        result = -2;
    changed = 0;
    sigprocmask(SIG_SETMASK, &as_ever, NULL);
    return result ? result : ready > 0 ? read_key() : 0;
}

void terminal_size(int *columns, int *rows)
{
    struct winsize size = { 0 };
    bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col && size.ws_row;
    *columns = known ? size.ws_col : 80;
    *rows = known ? size.ws_row : 24;
}
