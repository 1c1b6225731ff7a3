/* test_picture.c - whatever the story of an alert says, its picture is well-formed, needs nothing but itself,
 * and is of a size that can be looked at; and its text steers no terminal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/axis.c"
#include "cli/picture.c"
#include "cli/tale.c"
#include "cli/value.c"

#include <ctype.h>

/* What main.c has of these. */
void cli_put(FILE *to, const char *text)
{
    for (; *text; text++)
        fprintf(to, (unsigned char)*text < 0x20 || *text == 0x7f ? "\\x%02x" : "%c", (unsigned char)*text);
}

static char folded[65536];

void cli_fold(const char *text, int at)
{
    (void)at;
    strncat(folded, text, sizeof folded - strlen(folded) - 1);
    strncat(folded, "\n", sizeof folded - strlen(folded) - 1);
}

int cli_columns(void)
{
    return 0;
}

bool cli_colour(void)
{
    return false;
}

/* --- made-up stories ----------------------------------------------------------------------------- */

enum { PROCESSES = 5000, EVENTS = 20000 };
#define NOW 1717243845.5

static struct moonwatch_story_process processes[PROCESSES];
static struct moonwatch_story_event told_events[EVENTS];
static struct moonwatch_story story;
static struct tale tale;

static int add(int parent, enum moonwatch_kin kin, const char *command, double began, double ended)
{
    int number = story.processes_len++;
    processes[number] = (struct moonwatch_story_process){
        .parent = parent, .depth = parent < 0 ? 0 : processes[parent].depth + 1, .kin = kin, .pid = 1000 + number,
        .starttime = number, .uid = 33, .comm = "comm", .command = command, .exe = "/bin/x", .cwd = "/srv",
        .before = began == 0, .began = began, .ended = ended, .code = ended ? 0 : -1, .signal = -1,
    };
    return number;
}

static void happens(double time, int process, const char *type, const char *text)
{
    told_events[story.events_len] = (struct moonwatch_story_event){ time, (uint64_t)story.events_len + 1, process, type,
                                                                    text };
    story.events_len++;
}

static int begin(void **state)
{
    (void)state;
    story = (struct moonwatch_story){ .processes = processes, .events = told_events, .alert = -1, .time = NOW,
                                      .first = NOW - 10, .last = NOW + 10 };
    *folded = '\0';
    tale = (struct tale){ .number = 1, .time = NOW, .host = "vm", .story = &story };
    static const char json[] = "{\"script\":\"web\",\"severity\":\"high\",\"text\":\"a shell\",\"handler\":\"exec\","
                               "\"line\":12,\"seq\":3,\"values\":{\"server\":\"nginx (5)\",\"n\":3,\"ok\":true}}";
    tale.alert = value_parse(json, sizeof json - 1);
    return tale.alert ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    value_free((struct value *)tale.alert);
    return 0;
}

static void say(const char *json)
{
    value_free((struct value *)tale.alert);
    tale.alert = value_parse(json, strlen(json));
    assert_non_null(tale.alert);
}

static void tell_web(void)
{
    add(-1, MOONWATCH_ANCESTOR, "init", 0, 0);
    story.root = add(0, MOONWATCH_ANCESTOR, "nginx", 0, 0);
    add(1, MOONWATCH_ANCESTOR, "sh -c id", NOW - 0.02, NOW + 0.2);
    story.itself = add(2, MOONWATCH_ITSELF, "curl -O x", NOW - 0.001, NOW + 0.1);
    processes[3].code = 6;
    processes[3].uid = 0;
    add(3, MOONWATCH_DESCENDANT, "tar x", NOW + 0.01, NOW + 0.02);
    processes[4].signal = 9;
    processes[4].code = -1;
    add(1, MOONWATCH_OTHER, "sleep 1", NOW - 0.3, 0);
    happens(NOW - 0.3, 5, "fork", "nginx ← 1001");
    happens(NOW - 0.02, 2, "fork", "nginx ← 1001");
    happens(NOW - 0.001, 3, "fork", "sh ← 1002");
    story.alert = story.events_len;
    happens(NOW, 3, "exec", "curl -O x");
    happens(NOW + 0.01, 4, "fork", "curl ← 1003");
    happens(NOW + 0.015, 4, "uid", "curl: uid 33 → 0");
    happens(NOW + 0.02, 4, "exit", "tar: SIGKILL after 10.0 ms");
    happens(NOW + 0.1, 3, "exit", "curl: exit 6 after 101.0 ms");
    happens(NOW + 0.2, 2, "exit", "sh: exit 0 after 220.0 ms");
}

/* --- is it XML? ---------------------------------------------------------------------------------- */

static char *drawn;
static size_t drawn_len;

static void draw_it(void)
{
    free(drawn);
    drawn = NULL;
    FILE *to = open_memstream(&drawn, &drawn_len);
    assert_non_null(to);
    assert_true(picture_draw(&tale, to));
    assert_int_equal(fclose(to), 0);
}

static const char *check_entity(const char *c)
{
    static const char *const known[] = { "&amp;", "&lt;", "&gt;", "&quot;" };
    for (int i = 0; i < 4; i++)
        if (!strncmp(c, known[i], strlen(known[i])))
            return c + strlen(known[i]);
    fail_msg("no entity: %.20s", c);
    return c;
}

/* After the name of a tag: returns what follows its '>'. Values hold no markup and no number that is none. */
static const char *check_attributes(const char *c, bool *empty)
{
    *empty = false;
    for (;;) {
        c += strspn(c, " ");
        if (*c == '/') {
            *empty = true;
            c++;
        }
        if (*c == '>')
            return c + 1;
        size_t name = strspn(c, "abcdefghijklmnopqrstuvwxyzB-");
        assert_true(name > 0 && c[name] == '=' && c[name + 1] == '"' && strncmp(c, "href", 4) && strncmp(c, "on", 2));
        const char *quote = strchr(c + name + 2, '"');
        assert_non_null(quote);
        for (const char *v = c + name + 2; v < quote; v++) {
            assert_true(*v != '<' && *v != '&');
            assert_true(strncmp(v, "nan", 3) && strncmp(v, "inf", 3));
        }
        c = quote + 1;
    }
}

static const char *check_character(const char *c)
{
    int columns;
    if (*c == '&')
        return check_entity(c);
    size_t len = tale_character(c, &columns);
    assert_true(*c == '\n' || (len == 1 ? *c >= 0x20 && *c < 0x7f : len > 1));
    assert_true(strncmp(c, "\xe2\x80\xae", 3) && strncmp(c, "\xef\xbf\xbf", 3) && strncmp(c, "\xed\xa0\x80", 3));
    return c + len;
}

static void check_xml(void)
{
    const char *open[64];
    int depth = 0;
    for (const char *c = drawn; *c;) {
        if (*c != '<') {
            c = check_character(c);
            continue;
        }
        bool closing = c[1] == '/', empty;
        const char *name = c + 1 + closing;
        size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz");
        assert_true(len > 0);
        if (closing) {
            assert_true(depth > 0 && !strncmp(open[depth - 1], name, len) && name[len] == '>');
            depth--;
            c = name + len + 1;
            continue;
        }
        c = check_attributes(name + len, &empty);
        assert_true(empty || depth < 64);
        if (!empty)
            open[depth++] = name;
    }
    assert_int_equal(depth, 0);
    assert_null(strstr(drawn, "<script"));
    assert_null(strstr(drawn, "url("));
    assert_ptr_equal(strstr(strstr(drawn, "http") + 1, "http"), NULL); /* the name of SVG itself alone */
}

static int height(void)
{
    const char *at = strstr(drawn, "height=\"");
    return at ? atoi(at + 8) : 0;
}

static int count(const char *what)
{
    int n = 0;
    for (const char *at = drawn; (at = strstr(at, what)); at += strlen(what))
        n++;
    return n;
}

/* --- pictures ------------------------------------------------------------------------------------ */

static void a_picture_shows_who_what_and_when(void **state)
{
    (void)state;
    tell_web();
    draw_it();
    check_xml();
    assert_int_equal(count("class=\"hover\""), 6);
    assert_int_equal(count("class=\"self\" x"), 1);
    assert_int_equal(count("class=\"below\" x"), 1);
    assert_non_null(strstr(drawn, ">exit 6</text>"));
    assert_non_null(strstr(drawn, ">SIGKILL</text>"));
    assert_non_null(strstr(drawn, "curl -O x"));
    assert_non_null(strstr(drawn, "uid: curl: uid 33 → 0</title>"));
    assert_non_null(strstr(drawn, "prefers-color-scheme:dark"));
    assert_non_null(strstr(drawn, "comm (a fork)")); /* never executed anything */
    assert_null(strstr(drawn, "not drawn"));
    assert_non_null(strstr(drawn, "curl -O x (pid 1003, uid 0) was started by sh -c id (1002), which was started by "
                                  "nginx (1001), which ran before the recording began, below comm (1000)"));
}

static void what_is_near_the_alert_is_spread_when_the_rest_is_far(void **state)
{
    (void)state;
    tell_web();
    draw_it();
    assert_null(strstr(drawn, "logarithmic"));
    processes[5].began = told_events[0].time = NOW - 3600;
    draw_it();
    check_xml();
    assert_non_null(strstr(drawn, "logarithmic"));
    assert_non_null(strstr(drawn, ">\xe2\x88\x92" "1 s<")); /* not evenly: less than a pixel from the alert */
}

static void hostile_texts_stay_texts(void **state)
{
    static const char *const texts[] = {
        "</title></g></svg><script>alert(1)</script>", "\"><image href=\"x\"/>", "&amp;&#0;&lt", "]]>", "<!--", "--",
        "\x01\x1b[31m\n\t\r\x7f", "\xff\xfe\xc0\xaf", "\xe2\x80\xae" "rlo", "\xef\xbf\xbf\xef\xbf\xbe", "\xed\xa0\x80",
        "\xf4\x90\x80\x80", "\xf0\x80\x80\x80", "\xe2\x82", "\xc2\x80\xc2\x9b", "",
    };
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        end(NULL);
        assert_int_equal(begin(NULL), 0);
        tell_web();
        for (int j = 0; j < story.processes_len; j++)
            processes[j].command = processes[j].comm = processes[j].exe = processes[j].cwd = texts[i];
        for (int j = 0; j < story.events_len; j++)
            told_events[j].text = texts[i];
        char json[2048] = "{\"script\":", *quoted = NULL;
        size_t len;
        FILE *to = open_memstream(&quoted, &len);
        value_quote(to, texts[i]);
        fclose(to);
        snprintf(json, sizeof json, "{\"script\":%s,\"severity\":%s,\"text\":%s,\"handler\":%s,\"key\":%s,"
                                    "\"values\":{%s:%s}}", quoted, quoted, quoted, quoted, quoted, quoted, quoted);
        free(quoted);
        say(json);
        tale.host = texts[i];
        draw_it();
        check_xml();
    }
}

static void thousands_are_counted_not_drawn(void **state)
{
    (void)state;
    tell_web();
    for (int i = 0; i < 2000; i++) {
        add(1, MOONWATCH_OTHER, "true", NOW + i, NOW + i + 0.5);
        happens(NOW + i, story.processes_len - 1, "fork", "x");
    }
    story.processes_left = 7;
    draw_it();
    check_xml();
    assert_int_equal(count("class=\"hover\""), 5 + OTHERS_MOST);
    assert_in_range(height(), 300, ROWS_MOST * ROW + 400);
    assert_non_null(strstr(drawn, "at least 1984 more processes of the family are not drawn"));
}

static void of_thousands_of_descendants_the_first_are_drawn(void **state)
{
    (void)state;
    tell_web();
    for (int i = 0; i < 2000; i++) {
        add(3, MOONWATCH_DESCENDANT, "bomb", NOW + i * 1e-3, 0);
        happens(NOW + i * 1e-3, story.processes_len - 1, "fork", "x");
    }
    draw_it();
    check_xml();
    assert_int_equal(count("class=\"hover\""), ROWS_MOST);
}

/* Each the child of the one before: the line is drawn whole. */
static void a_deep_line_is_drawn_whole(void **state)
{
    (void)state;
    for (int i = 0; i < 250; i++) {
        add(i - 1, i < 249 ? MOONWATCH_ANCESTOR : MOONWATCH_ITSELF, "deep", i ? NOW - 1 + i * 1e-3 : 0, 0);
        happens(NOW - 1 + i * 1e-3, i, "fork", "x");
    }
    story.itself = 249;
    draw_it();
    check_xml();
    assert_int_equal(count("class=\"hover\""), 250);
}

static void any_times_can_be_drawn(void **state)
{
    static const double times[] = { -9.2e9, -1, 0, 1e-9, NOW - 1e-7, NOW, NOW + 1e-7, NOW + 1, 9.2e9 };
    enum { N = sizeof times / sizeof *times };
    (void)state;
    for (int a = 0; a < N; a++)
        for (int b = 0; b < N; b++)
            for (int c = 0; c < N; c++) {
                end(NULL);
                assert_int_equal(begin(NULL), 0);
                tell_web();
                processes[3].began = times[a];
                processes[3].ended = times[b];
                told_events[2].time = times[b];
                told_events[3].time = times[a];
                story.time = times[c];
                tale.time = times[(a + c) % N];
                draw_it();
                check_xml();
            }
}

static void one_process_without_any_event_is_a_picture(void **state)
{
    (void)state;
    story.itself = add(-1, MOONWATCH_ITSELF, "alone", 0, 0);
    draw_it();
    check_xml();
    assert_int_equal(count("class=\"hover\""), 1);
}

/* --- texts --------------------------------------------------------------------------------------- */

static const char *part(void (*write)(FILE *to, const struct tale *t))
{
    static char text[8192];
    FILE *to = fmemopen(text, sizeof text, "w");
    write(to, &tale);
    fclose(to);
    return text;
}

static void who_told_it_and_with_what_is_a_sentence(void **state)
{
    (void)state;
    assert_string_equal(part(tale_teller), "told by on.exec of web, line 12, with server = nginx (5), n = 3, ok = true");
    say("{\"script\":\"a\\nb\",\"handler\":\"timer\",\"values\":{}}");
    assert_string_equal(part(tale_teller), "told by a timer of a\\x0ab");
    say("{}");
    assert_string_equal(part(tale_teller), "told by ");
}

static void lineages_are_sentences(void **state)
{
    (void)state;
    story.root = story.itself = add(-1, MOONWATCH_ITSELF, "nginx", 0, 0);
    assert_string_equal(part(tale_lineage), "nginx (pid 1000, uid 33) ran before the recording began");
    processes[0].before = false;
    processes[0].uid = -1;
    assert_string_equal(part(tale_lineage), "nginx (pid 1000); what started it is not in the recording");
    processes[0].kin = MOONWATCH_ANCESTOR;
    story.itself = add(0, MOONWATCH_ITSELF, "sh", NOW, 0);
    assert_string_equal(part(tale_lineage), "sh (pid 1001, uid 33) was started by nginx (1000); what started that is not "
                                            "in the recording");
}

static void a_cut_text_ends_in_an_ellipsis(void **state)
{
    static const struct {
        const char *text;
        int most;
        const char *want;
    } cases[] = {
        { "abc", 3, "abc" },   { "abcd", 3, "ab…" }, { "äöüß", 4, "äöüß" }, { "äöüßa", 4, "äöü…" },
        { "漢字", 4, "漢字" }, { "漢字", 3, "漢…" }, { "\xff\xff", 1, "…" }, { "", 0, "" },
        { "→→", 2, "→→" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[64] = "";
        FILE *to = fmemopen(text, sizeof text, "w");
        tale_cut(to, cases[i].text, cases[i].most);
        fclose(to);
        assert_string_equal(text, cases[i].want);
    }
}

#define TEST(claim) cmocka_unit_test_setup_teardown(claim, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_picture_shows_who_what_and_when),
        TEST(what_is_near_the_alert_is_spread_when_the_rest_is_far),
        TEST(hostile_texts_stay_texts),
        TEST(thousands_are_counted_not_drawn),
        TEST(of_thousands_of_descendants_the_first_are_drawn),
        TEST(a_deep_line_is_drawn_whole),
        TEST(any_times_can_be_drawn),
        TEST(one_process_without_any_event_is_a_picture),
        TEST(who_told_it_and_with_what_is_a_sentence),
        TEST(lineages_are_sentences),
        TEST(a_cut_text_ends_in_an_ellipsis),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(drawn);
    return failed;
}
