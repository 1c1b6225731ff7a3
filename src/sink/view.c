/* view.c - writes an event as one line for people. See view.h.
 *
 * All text goes through one gate, line_text, which shows every character that could steer, hide
 * in or reorder a terminal as an escape, counts columns and cuts. It decides nothing about what
 * is shown; that is what the functions per kind below it do. */
#include "sink/view.h"

#include "base/clock.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* --- characters ------------------------------------------------------------------------- */

struct range {
    uint32_t first, last;
};

#define COUNT(array) (sizeof(array) / sizeof *(array))

static bool in_ranges(const struct range *ranges, size_t n, uint32_t c)
{
    size_t low = 0;

    while (low < n) {
        size_t mid = low + (n - low) / 2;
        if (c > ranges[mid].last)
            low = mid + 1;
        else if (c < ranges[mid].first)
            n = mid;
        else
            return true;
    }
    return false;
}

/* What shows nothing, shows a blank that is not the space, or moves what is around it. */
static bool is_hidden(uint32_t c)
{
    static const struct range hidden[] = {
        { 0x00a0, 0x00a0 },   { 0x00ad, 0x00ad },   { 0x034f, 0x034f },   { 0x061c, 0x061c },
        { 0x115f, 0x1160 },   { 0x1680, 0x1680 },   { 0x17b4, 0x17b5 },   { 0x180b, 0x180f },
        { 0x2000, 0x200f },   { 0x2028, 0x202f },   { 0x205f, 0x206f },   { 0x2800, 0x2800 },
        { 0x3000, 0x3000 },   { 0x3164, 0x3164 },   { 0xfeff, 0xfeff },   { 0xffa0, 0xffa0 },
        { 0xfff0, 0xfffb },   { 0xfffe, 0xffff },   { 0x13430, 0x1345f }, { 0x1bca0, 0x1bca3 },
        { 0x1d173, 0x1d17a }, { 0xe0000, 0xe0fff },
    };
    return in_ranges(hidden, COUNT(hidden), c);
}

/* Drawn upon the character before. Only the common ones: of the others each counts as a column, so
 * a line with them ends early, never late. */
static bool is_combining(uint32_t c)
{
    static const struct range combining[] = {
        { 0x0300, 0x036f }, { 0x0483, 0x0489 }, { 0x0591, 0x05bd }, { 0x05bf, 0x05bf },
        { 0x05c1, 0x05c2 }, { 0x05c4, 0x05c5 }, { 0x05c7, 0x05c7 }, { 0x0610, 0x061a },
        { 0x064b, 0x065f }, { 0x0670, 0x0670 }, { 0x06d6, 0x06dc }, { 0x06df, 0x06e4 },
        { 0x06e7, 0x06e8 }, { 0x06ea, 0x06ed }, { 0x0900, 0x0902 }, { 0x093a, 0x093a },
        { 0x093c, 0x093c }, { 0x0941, 0x0948 }, { 0x094d, 0x094d }, { 0x0951, 0x0957 },
        { 0x0962, 0x0963 }, { 0x0e31, 0x0e31 }, { 0x0e34, 0x0e3a }, { 0x0e47, 0x0e4e },
        { 0x1ab0, 0x1ace }, { 0x1dc0, 0x1dff }, { 0x20d0, 0x20f0 }, { 0x302a, 0x302d },
        { 0x3099, 0x309a }, { 0xfe00, 0xfe0e }, { 0xfe20, 0xfe2f },
    };
    return in_ranges(combining, COUNT(combining), c);
}

/* East Asian Width W and F; in the emoji blocks rather one too many. */
static bool is_wide(uint32_t c)
{
    static const struct range wide[] = {
        { 0x1100, 0x115f },   { 0x231a, 0x231b },   { 0x2329, 0x232a },   { 0x23e9, 0x23ec },
        { 0x23f0, 0x23f0 },   { 0x23f3, 0x23f3 },   { 0x25fd, 0x25fe },   { 0x2614, 0x2615 },
        { 0x2630, 0x2637 },   { 0x2648, 0x2653 },   { 0x267f, 0x267f },   { 0x268a, 0x268f },
        { 0x2693, 0x2693 },   { 0x26a1, 0x26a1 },   { 0x26aa, 0x26ab },   { 0x26bd, 0x26be },
        { 0x26c4, 0x26c5 },   { 0x26ce, 0x26ce },   { 0x26d4, 0x26d4 },   { 0x26ea, 0x26ea },
        { 0x26f2, 0x26f5 },   { 0x26fa, 0x26fa },   { 0x26fd, 0x26fd },   { 0x2705, 0x2705 },
        { 0x270a, 0x270b },   { 0x2728, 0x2728 },   { 0x274c, 0x274c },   { 0x274e, 0x274e },
        { 0x2753, 0x2755 },   { 0x2757, 0x2757 },   { 0x2795, 0x2797 },   { 0x27b0, 0x27b0 },
        { 0x27bf, 0x27bf },   { 0x2b1b, 0x2b1c },   { 0x2b50, 0x2b50 },   { 0x2b55, 0x2b55 },
        { 0x2e80, 0x303e },   { 0x3041, 0xa4cf },   { 0xa960, 0xa97c },   { 0xac00, 0xd7a3 },
        { 0xf900, 0xfaff },   { 0xfe10, 0xfe19 },   { 0xfe30, 0xfe6f },   { 0xff01, 0xff60 },
        { 0xffe0, 0xffe6 },   { 0x16fe0, 0x18dff }, { 0x1aff0, 0x1b2ff }, { 0x1d300, 0x1d37f },
        { 0x1f004, 0x1f004 }, { 0x1f0cf, 0x1f0cf }, { 0x1f18e, 0x1f18e }, { 0x1f191, 0x1f19a },
        { 0x1f1e6, 0x1f64f }, { 0x1f680, 0x1f6ff }, { 0x1f7e0, 0x1f7f0 }, { 0x1f90c, 0x1f9ff },
        { 0x1fa70, 0x1faff }, { 0x20000, 0x3fffd },
    };
    return in_ranges(wide, COUNT(wide), c);
}

static int width_of(uint32_t c)
{
    if (c < 0x300)
        return 1;
    if (is_combining(c))
        return 0;
    return is_wide(c) ? 2 : 1;
}

/* Length of the UTF-8 character at `at` and its code, or 0 when there is none. */
static int decode(const unsigned char *at, size_t len, uint32_t *code)
{
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    size_t width = at[0] < 0x80 ? 1 : at[0] < 0xc0 ? 0 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;

    if (!width || width > len || at[0] > 0xf7)
        return 0;
    uint32_t c = width == 1 ? at[0] : at[0] & (0x7fu >> width);
    for (size_t i = 1; i < width; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (at[i] & 0x3f);
    }
    if (c < least[width] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return 0;
    *code = c;
    return (int)width;
}

/* --- a line ----------------------------------------------------------------------------- */

#define ELLIPSIS "…"

/* More marks than this upon one character are a way to draw over the lines around. */
#define MARKS_MAX 3

struct line {
    struct buf *out;
    int limit; /* columns; 0: none */
    int used;
    int marks; /* combining characters upon the last one */
    bool full; /* cut: nothing more is written */
    bool colour;
    bool tinted; /* a colour is on, or may be */
    size_t keep; /* what of `out` stays when an ellipsis must follow */
    int keep_used;
};

static struct line line_begin(struct buf *out, int columns, bool colour)
{
    return (struct line){
        .out = out, .limit = columns > 0 ? columns : 0, .colour = colour, .keep = out->len
    };
}

static void line_cut(struct line *l)
{
    l->out->len = l->keep;
    buf_puts(l->out, ELLIPSIS);
    l->used = l->keep_used + 1;
    l->full = true;
    l->tinted = l->colour; /* the end of a colour may have been cut off */
}

/* Bytes that stay together: a character, an escape. */
static void line_unit(struct line *l, const void *bytes, size_t len, int width)
{
    if (l->full)
        return;
    if (l->limit && l->used + width > l->limit) {
        line_cut(l);
        return;
    }
    buf_add(l->out, bytes, len);
    l->used += width;
    if (l->used < l->limit) {
        l->keep = l->out->len;
        l->keep_used = l->used;
    }
}

/* \xHH for a byte, \u{HHHH} for a character. */
static void line_escape(struct line *l, bool is_byte, uint32_t c)
{
    char text[16];
    int len = snprintf(text, sizeof text, is_byte ? "\\x%02x" : "\\u{%04x}", (unsigned)c);

    line_unit(l, text, (size_t)len, len);
    l->marks = 0;
}

static void line_character(struct line *l, const unsigned char *at, int len, uint32_t c)
{
    int width = width_of(c);

    l->marks = width ? 0 : l->marks + 1;
    if (c < 0x20 || (c >= 0x7f && c < 0xa0))
        line_escape(l, true, c);
    else if (is_hidden(c) || l->marks > MARKS_MAX)
        line_escape(l, false, c);
    else
        line_unit(l, at, (size_t)len, width);
}

/* Any bytes. A mark at the front has nothing of its own to stand upon. */
static void line_bytes(struct line *l, const char *bytes, size_t len)
{
    const unsigned char *at = (const unsigned char *)bytes;

    l->marks = MARKS_MAX;
    while (len && !l->full) {
        uint32_t c;
        int width = decode(at, len, &c);
        if (width) {
            line_character(l, at, width, c);
        } else {
            line_escape(l, true, *at);
            width = 1;
        }
        at += width;
        len -= (size_t)width;
    }
}

static void line_text(struct line *l, const char *text)
{
    line_bytes(l, text, strlen(text));
}

static void line_printf(struct line *l, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* For numbers and words of ours. */
static void line_printf(struct line *l, const char *format, ...)
{
    char text[128];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    line_text(l, text);
}

static void line_colour(struct line *l, const char *colour)
{
    if (!l->colour || l->full || !*colour)
        return;
    buf_printf(l->out, "\033[%sm", colour);
    l->tinted = true;
}

static void line_plain(struct line *l)
{
    if (!l->tinted || l->full)
        return;
    buf_puts(l->out, "\033[0m");
    l->tinted = false;
}

static void line_coloured(struct line *l, const char *colour, const char *text)
{
    line_colour(l, colour);
    line_text(l, text);
    line_plain(l);
}

static void line_end(struct line *l)
{
    if (l->tinted)
        buf_puts(l->out, "\033[0m");
    buf_putc(l->out, '\n');
}

/* Blanks until `column`, at least one. */
static void line_tab(struct line *l, int column)
{
    do
        line_text(l, " ");
    while (l->used < column && !l->full);
}

int view_text(struct buf *out, const char *bytes, size_t len, int cells)
{
    struct line l = line_begin(out, cells, false);
    line_bytes(&l, bytes, len);
    return l.used;
}

/* --- parts ------------------------------------------------------------------------------ */

#define BOLD    "1"
#define DIM     "2"
#define RED     "31"
#define GREEN   "32"
#define YELLOW  "33"
#define BLUE    "34"
#define MAGENTA "35"
#define CYAN    "36"
#define LOUD    "1;31"
#define LOUDEST "1;37;41"

/* "12:34:56.789", with view->date "2024-05-06 12:34:56.789". */
static int time_width(const struct view *view)
{
    return view->date ? 23 : 12;
}

static void put_time(struct line *l, bool date, int64_t ns)
{
    int64_t rest = ns % NS_PER_SECOND;
    time_t second = (time_t)(ns / NS_PER_SECOND - (rest < 0));
    int ms = (int)((rest < 0 ? rest + NS_PER_SECOND : rest) / 1000000);
    struct tm tm;

    if (!localtime_r(&second, &tm))
        return;
    if (date)
        line_printf(l, "%04d-%02d-%02d ", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday);
    line_printf(l, "%02d:%02d:%02d.%03d", tm.tm_hour, tm.tm_min, tm.tm_sec, ms);
}

/* Right-aligned; `otherwise` when it is not known. */
static void put_number(struct line *l, const struct event *ev, enum event_field field, int width,
                       const char *otherwise)
{
    if (event_has(ev, field))
        line_printf(l, "%*lld", width, (long long)ev->cell[field].num);
    else
        line_printf(l, "%*s", width, otherwise);
}

static void put_duration(struct line *l, int64_t ns)
{
    long long us = ns > 0 ? ns / 1000 : 0, s = us / 1000000;

    if (us < 100)
        line_printf(l, "%lld us", us);
    else if (s < 1)
        line_printf(l, "%lld.%lld ms", us / 1000, us / 100 % 10);
    else if (s < 60)
        line_printf(l, "%lld.%lld s", s, us / 100000 % 10);
    else if (s < 3600)
        line_printf(l, "%lld m %02lld s", s / 60, s % 60);
    else if (s < 86400)
        line_printf(l, "%lld h %02lld m", s / 3600, s / 60 % 60);
    else
        line_printf(l, "%lld d %02lld h", s / 86400, s / 3600 % 24);
}

struct text {
    const char *bytes; /* NULL: not known */
    size_t len;
};

static struct text text_of(const struct event *ev, enum event_field field)
{
    struct text t = { NULL, 0 };
    if (ev)
        t.bytes = event_text(ev, field, &t.len);
    return t;
}

static bool same_text(struct text a, struct text b)
{
    return a.len == b.len && !memcmp(a.bytes, b.bytes, a.len);
}

static struct text base_name(struct text path)
{
    const char *slash = path.len ? memrchr(path.bytes, '/', path.len) : NULL;
    size_t skip = slash ? (size_t)(slash + 1 - path.bytes) : 0;
    return (struct text){ path.bytes + skip, path.len - skip };
}

static struct text name_of(const struct event *ev)
{
    struct text comm = text_of(ev, F_COMM), exe = text_of(ev, F_EXE);

    if (comm.len)
        return comm;
    return exe.len ? base_name(exe) : comm;
}

static void put_name(struct line *l, struct text name)
{
    if (name.len)
        line_bytes(l, name.bytes, name.len);
    else
        line_text(l, "?");
}

/* --- command lines ---------------------------------------------------------------------- */

static bool is_shell_safe(unsigned char c)
{
    return c >= 0x80 || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
           (c >= 'a' && c <= 'z') || (c && strchr("_@%+=:,./-", c));
}

static bool needs_quotes(struct text arg)
{
    for (size_t i = 0; i < arg.len; i++)
        if (!is_shell_safe((unsigned char)arg.bytes[i]))
            return true;
    return arg.len == 0;
}

static void put_arg(struct line *l, struct text arg)
{
    if (!needs_quotes(arg)) {
        line_bytes(l, arg.bytes, arg.len);
        return;
    }
    line_text(l, "'");
    while (arg.len && !l->full) {
        const char *quote = memchr(arg.bytes, '\'', arg.len);
        size_t len = quote ? (size_t)(quote - arg.bytes) : arg.len;
        line_bytes(l, arg.bytes, len);
        if (quote)
            line_text(l, "'\\''");
        len += quote != NULL;
        arg.bytes += len;
        arg.len -= len;
    }
    line_text(l, "'");
}

static struct text first_arg(struct text args)
{
    return (struct text){ args.bytes, args.len ? strnlen(args.bytes, args.len) : 0 };
}

static void put_args(struct line *l, struct text args)
{
    while (args.len && !l->full) {
        struct text arg = first_arg(args);
        put_arg(l, arg);
        args.bytes += arg.len + 1;
        args.len -= arg.len + 1;
        if (args.len)
            line_text(l, " ");
    }
}

static struct text without_usr(struct text path)
{
    if (path.len > 5 && !memcmp(path.bytes, "/usr/", 5))
        return (struct text){ path.bytes + 4, path.len - 4 };
    return path;
}

/* A server may have written a title over its arguments: "sshd: user [priv]". */
static struct text without_title(struct text arg)
{
    size_t len = 0;
    while (len < arg.len && arg.bytes[len] != ':' && arg.bytes[len] != ' ')
        len++;
    return (struct text){ arg.bytes, len };
}

/* Would a reader of args[0] take it for this program? /bin and /usr/bin are one directory nowadays;
 * a login shell is called "-bash". */
static bool arg_names_exe(struct text arg, struct text exe)
{
    arg = without_title(arg);
    if (arg.len && arg.bytes[0] == '-')
        arg = (struct text){ arg.bytes + 1, arg.len - 1 };
    if (arg.len && arg.bytes[0] == '/')
        return same_text(without_usr(arg), without_usr(exe));
    return same_text(base_name(arg), base_name(exe));
}

/* The kernel keeps 15 bytes of a name. */
static bool comm_names_exe(struct text comm, struct text exe)
{
    struct text base = base_name(exe);
    if (base.len > 15)
        base.len = 15;
    return same_text(comm, base);
}

/* The program goes in front: behind long arguments it would be cut off, and it is the part that a
 * process cannot choose freely. */
static void put_exe(struct line *l, const struct event *ev, bool named)
{
    struct text exe = text_of(ev, F_EXE);
    bool deleted = event_int(ev, F_DELETED, 0);

    if (!exe.len || (named && !deleted))
        return;
    line_colour(l, deleted ? RED : DIM);
    line_bytes(l, exe.bytes, exe.len);
    line_text(l, deleted ? " (deleted): " : ": ");
    line_plain(l);
}

static void put_command(struct line *l, const struct event *ev, const struct event *parent)
{
    struct text args = text_of(ev, F_ARGS), exe = text_of(ev, F_EXE), name = name_of(ev);

    if (args.len) {
        put_exe(l, ev, exe.len && arg_names_exe(first_arg(args), exe));
        put_args(l, args);
        return;
    }
    put_exe(l, ev, exe.len && name.len && comm_names_exe(name, exe));
    line_text(l, "[");
    put_name(l, name.len ? name : name_of(parent));
    line_text(l, "]");
}

void view_command(struct buf *out, const struct event *ev, int cells)
{
    struct line l = line_begin(out, cells, false);
    put_command(&l, ev, NULL);
}

/* --- events ----------------------------------------------------------------------------- */

/* What stands behind the columns, and the colour of the kind. */
typedef void body(struct line *l, const struct view *view, const struct event *ev,
                  const struct event *parent);

static void body_none(struct line *l, const struct view *view, const struct event *ev,
                      const struct event *parent)
{
    (void)view, (void)parent;
    put_name(l, name_of(ev));
}

static void body_command(struct line *l, const struct view *view, const struct event *ev,
                         const struct event *parent)
{
    (void)view;
    put_command(l, ev, event_kind(ev) == EVENT_SNAPSHOT ? parent : NULL);
}

static void body_fork(struct line *l, const struct view *view, const struct event *ev,
                      const struct event *parent)
{
    struct text name = name_of(ev);

    (void)view;
    put_name(l, name.len ? name : name_of(parent));
    if (event_has(ev, F_PPID)) {
        line_colour(l, DIM);
        line_printf(l, " ← %lld", (long long)ev->cell[F_PPID].num);
        line_plain(l);
    }
}

static void put_status(struct line *l, const struct event *ev)
{
    if (event_has(ev, F_SIGNAL)) {
        line_text(l, view_signal_name((int)ev->cell[F_SIGNAL].num));
        line_text(l, event_int(ev, F_CORE, 0) ? " (core dumped)" : "");
    } else if (event_has(ev, F_CODE)) {
        line_printf(l, "exit %lld", (long long)ev->cell[F_CODE].num);
    } else {
        line_text(l, "exit ?");
    }
}

static void body_exit(struct line *l, const struct view *view, const struct event *ev,
                      const struct event *parent)
{
    bool failed = event_has(ev, F_SIGNAL) || event_int(ev, F_CODE, 0);

    (void)view, (void)parent;
    line_colour(l, failed ? RED : DIM);
    put_name(l, name_of(ev));
    line_text(l, ": ");
    put_status(l, ev);
    if (event_has(ev, F_DURATION)) {
        line_text(l, " after ");
        put_duration(l, ev->cell[F_DURATION].num);
    }
    line_plain(l);
}

/* "uid 1000 → 0", or "uid 0" when it was that or what it was is not known. */
static void put_change(struct line *l, const struct event *ev, const char *name,
                       enum event_field was, enum event_field is)
{
    if (!event_has(ev, is))
        return;
    line_text(l, name);
    if (event_has(ev, was) && ev->cell[was].num != ev->cell[is].num)
        line_printf(l, " %lld →", (long long)ev->cell[was].num);
    line_printf(l, " %lld", (long long)ev->cell[is].num);
}

static void body_uid(struct line *l, const struct view *view, const struct event *ev,
                     const struct event *parent)
{
    body_none(l, view, ev, parent);
    put_change(l, ev, ": uid", F_WAS_UID, F_UID);
    put_change(l, ev, ", euid", F_WAS_EUID, F_EUID);
}

static void body_gid(struct line *l, const struct view *view, const struct event *ev,
                     const struct event *parent)
{
    body_none(l, view, ev, parent);
    put_change(l, ev, ": gid", F_WAS_GID, F_GID);
    put_change(l, ev, ", egid", F_WAS_EGID, F_EGID);
}

static void body_sid(struct line *l, const struct view *view, const struct event *ev,
                     const struct event *parent)
{
    body_none(l, view, ev, parent);
    put_change(l, ev, ": session", F_WAS_SID, F_SID);
}

static void body_ptrace(struct line *l, const struct view *view, const struct event *ev,
                        const struct event *parent)
{
    body_none(l, view, ev, parent);
    if (!event_has(ev, F_TRACER))
        return;
    if (ev->cell[F_TRACER].num)
        line_printf(l, ": traced by %lld", (long long)ev->cell[F_TRACER].num);
    else
        line_text(l, ": no longer traced");
}

static void body_comm(struct line *l, const struct view *view, const struct event *ev,
                      const struct event *parent)
{
    struct text was = text_of(ev, F_WAS_COMM);

    if (was.len) {
        line_bytes(l, was.bytes, was.len);
        line_text(l, " ");
    }
    line_text(l, "→ ");
    body_none(l, view, ev, parent);
}

static void body_coredump(struct line *l, const struct view *view, const struct event *ev,
                          const struct event *parent)
{
    body_none(l, view, ev, parent);
    line_text(l, ": ");
    if (event_has(ev, F_SIGNAL)) {
        line_text(l, view_signal_name((int)ev->cell[F_SIGNAL].num));
        line_text(l, ", ");
    }
    line_text(l, "dumping core");
}

static void body_lost(struct line *l, const struct view *view, const struct event *ev,
                      const struct event *parent)
{
    (void)view, (void)parent;
    line_colour(l, LOUD);
    put_number(l, ev, F_LOST, 0, "some");
    line_text(l, event_int(ev, F_LOST, 0) == 1 ? " event lost" : " events lost");
    if (event_has(ev, F_FROM) && event_has(ev, F_UNTIL)) {
        line_text(l, ", ");
        put_time(l, false, ev->cell[F_FROM].num);
        line_text(l, " to ");
        put_time(l, false, ev->cell[F_UNTIL].num);
    }
    line_plain(l);
}

static void body_reload(struct line *l, const struct view *view, const struct event *ev,
                        const struct event *parent)
{
    (void)view, (void)ev, (void)parent;
    line_text(l, "scripts reloaded");
}

static void body_storm(struct line *l, const struct view *view, const struct event *ev,
                       const struct event *parent)
{
    struct text phase = text_of(ev, F_PHASE);
    if (!event_has(ev, F_SUMMED) && !event_has(ev, F_CHILDREN)) {
        line_text(l, "storm: ");
        line_bytes(l, phase.bytes, phase.len);
        return;
    }
    if (event_has(ev, F_PID))
        body_none(l, view, ev, parent);
    else
        line_text(l, "others");
    line_text(l, ": ");
    put_number(l, ev, F_CHILDREN, 0, "no");
    line_text(l, " children");
    int64_t span;
    if (event_has(ev, F_FROM) && event_has(ev, F_UNTIL) &&
        !__builtin_sub_overflow(ev->cell[F_UNTIL].num, ev->cell[F_FROM].num, &span)) {
        line_text(l, " in ");
        put_duration(l, span);
    }
    line_text(l, ", ");
    put_number(l, ev, F_DISTINCT, 0, "no");
    line_text(l, " distinct comm");
}

static const struct {
    body *body;
    const char *colour;
} looks[EVENT_KINDS] = {
    [EVENT_NONE] = { body_none, "" },         [EVENT_FORK] = { body_fork, CYAN },
    [EVENT_EXEC] = { body_command, GREEN },   [EVENT_EXIT] = { body_exit, "" },
    [EVENT_UID] = { body_uid, YELLOW },       [EVENT_GID] = { body_gid, YELLOW },
    [EVENT_SID] = { body_sid, BLUE },         [EVENT_PTRACE] = { body_ptrace, MAGENTA },
    [EVENT_COMM] = { body_comm, BLUE },       [EVENT_COREDUMP] = { body_coredump, LOUD },
    [EVENT_SNAPSHOT] = { body_command, DIM }, [EVENT_LOST] = { body_lost, LOUD },
    [EVENT_RELOAD] = { body_reload, BOLD },   [EVENT_STORM] = { body_storm, LOUD },
};

#define PID_WIDTH  7 /* pid_max is 4194304 at most */
#define UID_WIDTH  6
#define KIND_WIDTH 8

/* Indentation leaves this much of a line to the text, and grows no further than that. */
#define BODY_MIN   30
#define INDENT_MAX 40

/* Is there room for what is good to have? */
static bool is_roomy(const struct view *view, int columns)
{
    return view->columns <= 0 || view->columns >= columns;
}

static bool shows_uid(const struct view *view)
{
    return is_roomy(view, 100);
}

static const char *kind_colour(const struct event *ev, enum event_kind kind)
{
    if (kind == EVENT_EXIT)
        return event_has(ev, F_SIGNAL) || event_int(ev, F_CODE, 0) ? RED : DIM;
    return looks[kind].colour;
}

static enum event_field effective_uid(const struct event *ev)
{
    return event_has(ev, F_EUID) ? F_EUID : F_UID;
}

static void put_columns(struct line *l, const struct view *view, const struct event *ev,
                        enum event_kind kind)
{
    line_colour(l, DIM);
    if (event_has(ev, F_TIME))
        put_time(l, view->date, ev->cell[F_TIME].num);
    line_plain(l);
    line_tab(l, time_width(view) + 1);
    put_number(l, ev, F_PID, PID_WIDTH, "");
    line_text(l, " ");
    if (shows_uid(view)) {
        put_number(l, ev, effective_uid(ev), UID_WIDTH, "");
        line_text(l, " ");
    }
    int start = l->used;
    line_coloured(l, kind_colour(ev, kind), event_kind_name(kind));
    line_tab(l, start + KIND_WIDTH + 1);
}

static void put_indent(struct line *l, int depth)
{
    int room = l->limit ? l->limit - l->used - BODY_MIN : INDENT_MAX;
    int indent = depth > INDENT_MAX / 2 ? INDENT_MAX : depth * 2;

    if (indent > room)
        indent = room;
    for (int i = 0; i < indent; i++)
        line_text(l, " ");
}

static enum event_kind known_kind(const struct event *ev)
{
    enum event_kind kind = event_kind(ev);
    return (unsigned)kind < EVENT_KINDS ? kind : EVENT_NONE;
}

static void put_what(struct line *l, const struct view *view, const struct event *ev,
                     const struct event *parent)
{
    looks[known_kind(ev)].body(l, view, ev, parent);
    if (event_int(ev, F_INFERRED, 0))
        line_coloured(l, DIM, " (found after a loss)");
}

void view_what(struct buf *out, const struct event *ev, int cells)
{
    struct view plain = { .columns = cells };
    struct line l = line_begin(out, cells, false);
    put_what(&l, &plain, ev, NULL);
}

void view_event(struct buf *out, const struct view *view, const struct event *ev, int depth,
                const struct event *parent)
{
    struct line l = line_begin(out, view->columns, view->colour);

    put_columns(&l, view, ev, known_kind(ev));
    put_indent(&l, depth);
    put_what(&l, view, ev, parent);
    line_end(&l);
}

void view_heading(struct buf *out, const struct view *view)
{
    struct line l = line_begin(out, view->columns, view->colour);

    line_colour(&l, BOLD);
    line_printf(&l, "%-*s %*s ", time_width(view), "TIME", PID_WIDTH, "PID");
    if (shows_uid(view))
        line_printf(&l, "%*s ", UID_WIDTH, "UID");
    line_printf(&l, "%-*s %s", KIND_WIDTH, "EVENT", "PROCESS");
    line_end(&l);
}

/* --- processes -------------------------------------------------------------------------- */

#define TTY_WIDTH       8
#define START_WIDTH     5
#define CONTAINER_WIDTH 12

static bool shows_container(const struct view *view)
{
    return is_roomy(view, 160);
}

/* As ps has it: "12:34" within a day, "May06" within the year, else the year. */
static void put_start(struct line *l, int64_t start_ns, int64_t now_ns)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    time_t start = (time_t)(start_ns / NS_PER_SECOND), now = (time_t)(now_ns / NS_PER_SECOND);
    struct tm then, today;

    if (!localtime_r(&start, &then) || !localtime_r(&now, &today))
        return;
    if (now - start < 86400)
        line_printf(l, "%02d:%02d", then.tm_hour, then.tm_min);
    else if (then.tm_year == today.tm_year)
        line_printf(l, "%.3s%02d", months + 3 * then.tm_mon, then.tm_mday);
    else
        line_printf(l, "%5d", then.tm_year + 1900);
}

static void put_text_column(struct line *l, struct text text, const char *otherwise, int width)
{
    int start = l->used;

    if (text.len)
        line_bytes(l, text.bytes, text.len);
    else
        line_text(l, otherwise);
    line_tab(l, start + width + 1);
}

void view_process_heading(struct buf *out, const struct view *view)
{
    struct line l = line_begin(out, view->columns, view->colour);

    line_colour(&l, BOLD);
    line_printf(&l, "%*s %*s %*s %-*s %-*s ", PID_WIDTH, "PID", PID_WIDTH, "PPID", UID_WIDTH, "UID",
                TTY_WIDTH, "TTY", START_WIDTH, "START");
    if (shows_container(view))
        line_printf(&l, "%-*s ", CONTAINER_WIDTH, "CONTAINER");
    line_text(&l, "COMMAND");
    line_end(&l);
}

void view_process(struct buf *out, const struct view *view, const struct event *ev,
                  const char *branch)
{
    struct line l = line_begin(out, view->columns, view->colour);

    put_number(&l, ev, F_PID, PID_WIDTH, "?");
    line_text(&l, " ");
    put_number(&l, ev, F_PPID, PID_WIDTH, "?");
    line_text(&l, " ");
    put_number(&l, ev, effective_uid(ev), UID_WIDTH, "?");
    line_text(&l, " ");
    put_text_column(&l, text_of(ev, F_TTY), "?", TTY_WIDTH);

    int start = l.used;
    if (event_has(ev, F_START))
        put_start(&l, ev->cell[F_START].num, event_int(ev, F_TIME, clock_real_ns()));
    line_tab(&l, start + START_WIDTH + 1);

    if (shows_container(view))
        put_text_column(&l, text_of(ev, F_CONTAINER), "-", CONTAINER_WIDTH);
    line_coloured(&l, DIM, branch);
    put_command(&l, ev, NULL);
    line_end(&l);
}

/* --- alerts ----------------------------------------------------------------------------- */

static const char *severity_colour(const char *severity)
{
    static const struct {
        const char *name, *colour;
    } colours[] = {
        { "low", CYAN },
        { "medium", YELLOW },
        { "high", LOUD },
        { "critical", LOUDEST },
    };

    for (size_t i = 0; i < COUNT(colours); i++)
        if (!strcmp(colours[i].name, severity))
            return colours[i].colour;
    return BOLD;
}

static void put_subject(struct line *l, const struct event *ev)
{
    struct text name = name_of(ev);

    if (!event_has(ev, F_PID) && !name.len)
        return;
    line_colour(l, DIM);
    line_text(l, " (");
    put_number(l, ev, F_PID, 0, "?");
    if (name.len) {
        line_text(l, " ");
        put_name(l, name);
    }
    line_text(l, ")");
    line_plain(l);
}

void view_alert(struct buf *out, const struct view *view, const char *severity, const char *script,
                const char *text, size_t text_len, const struct event *ev)
{
    struct line l = line_begin(out, view->columns, view->colour);
    bool timed = ev && event_has(ev, F_TIME);

    line_colour(&l, DIM);
    put_time(&l, view->date, timed ? ev->cell[F_TIME].num : clock_real_ns());
    line_plain(&l);
    line_tab(&l, time_width(view) + 1);
    line_coloured(&l, LOUD, "ALERT");
    line_text(&l, " ");

    int start = l.used;
    line_coloured(&l, severity_colour(severity), severity);
    line_tab(&l, start + (int)sizeof "critical");
    line_coloured(&l, BOLD, script);
    line_text(&l, ": ");
    if (text_len)
        line_bytes(&l, text, text_len);
    else if (ev)
        put_command(&l, ev, NULL);
    if (ev)
        put_subject(&l, ev);
    line_end(&l);
}

/* --- signals ---------------------------------------------------------------------------- */

const char *view_signal_name(int number)
{
    static const char *const names[] = {
#define S(name) [name] = #name
        S(SIGHUP),    S(SIGINT),  S(SIGQUIT),  S(SIGILL),  S(SIGTRAP), S(SIGABRT),
        S(SIGBUS),    S(SIGFPE),  S(SIGKILL),  S(SIGUSR1), S(SIGSEGV), S(SIGUSR2),
        S(SIGPIPE),   S(SIGALRM), S(SIGTERM),  S(SIGCHLD), S(SIGCONT), S(SIGSTOP),
        S(SIGTSTP),   S(SIGTTIN), S(SIGTTOU),  S(SIGURG),  S(SIGXCPU), S(SIGXFSZ),
        S(SIGVTALRM), S(SIGPROF), S(SIGWINCH), S(SIGIO),   S(SIGPWR),  S(SIGSYS),
#ifdef SIGSTKFLT /* not on MIPS and SPARC */
        S(SIGSTKFLT),
#endif
#undef S
    };
    /* The kernel's 32 and 33 are glibc's own; 34 is what programs call the first. */
    enum { RTMIN = 34, RTMAX = 64 };
    static _Thread_local char text[32];

    if (number > 0 && (size_t)number < COUNT(names) && names[number])
        return names[number];
    if (number == RTMIN)
        return "SIGRTMIN";
    if (number > RTMIN && number <= RTMAX)
        snprintf(text, sizeof text, "SIGRTMIN+%d", number - RTMIN);
    else
        snprintf(text, sizeof text, "signal %d", number);
    return text;
}
