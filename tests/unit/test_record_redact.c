/* test_record_redact.c - secrets are taken out, with the rules of lua/moonwatch/redact.lua, and
 * what is none stays. */
#include "record/redact.h"

#include "record_fixture.h"
#include "redact_rules.h"

#include "base/buf.h"
#include "base/clock.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

static struct redact *r;
static struct event_box in, out;
static char why[256];

static int load(void **state)
{
    (void)state;
    r = rules_load();
    return !r;
}

static int unload(void **state)
{
    (void)state;
    redact_free(r);
    rules_free();
    return 0;
}

/* --- arguments -------------------------------------------------------------------------------- */

static char plain[4096], token[64];

/* What a byte of a case stands for. */
static char meant(char c)
{
    switch (c) {
    case '|':
        return '\0';
    case '\\':
        return '{';
    case '~':
        return '}';
    case '^':
        return '|';
    default:
        return c;
    }
}

/* "a|b {secret}": arguments, and in braces what is to be taken out. Returns how long they are. */
static size_t without_braces(const char *text)
{
    size_t len = 0;
    for (; *text; text++)
        if (*text != '{' && *text != '}')
            plain[len++] = meant(*text);
    plain[len++] = '\0';
    return len;
}

static void set_args(const char *text)
{
    size_t len = without_braces(text);
    event_begin(&in, EVENT_EXEC);
    event_set(&in, F_PID, 7, WHY_KERNEL);
    event_set_text(&in, F_COMM, "abc", 3, WHY_TAP);
    event_set_text(&in, F_ARGS, plain, len, WHY_TAP);
}

/* The arguments that came out, in the form of the tests, "{...}" for each token. */
static const char *args_out(const struct event *ev)
{
    static char shown[8192];
    size_t len, n = 0;
    const char *args = event_text(ev, F_ARGS, &len);
    assert_non_null(args);
    assert_int_equal(args[len - 1], 0);
    for (size_t i = 0; i + 1 < len; i++) {
        if (len - i > 19 && !memcmp(args + i, "[redacted:", 10) && args[i + 18] == ']') {
            memcpy(token, args + i, 19);
            n += (size_t)sprintf(shown + n, "{...}");
            i += 18;
        } else {
            shown[n++] = args[i] ? args[i] : '|';
        }
    }
    shown[n] = '\0';
    return shown;
}

/* The same form of what is wanted. */
static const char *args_wanted(const char *text)
{
    static char shown[8192];
    size_t n = 0;
    for (; *text; text++) {
        if (*text == '{') {
            n += (size_t)sprintf(shown + n, "{...}");
            text = strchr(text, '}');
        } else {
            shown[n++] = meant(*text) ? meant(*text) : '|';
        }
    }
    shown[n] = '\0';
    return shown;
}

/* \\ and ~ are braces, ^ is |. */
static void secrets_in_arguments_are_taken_out(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "prog|--password={hunter2}",
        "prog|--password|{hunter2}|more",
        "prog|--password|{hunter 2}",
        "prog|-password|{hunter2}",
        "prog|--db-password={hunter2}",
        "prog|--PASSWORD={hunter2}|--x",
        "prog|--passphrase|{correct horse}",
        "prog|--api-key={0123abc}",
        "prog|--apikey|{0123abc}",
        "prog|--token={abc}|--secret={def}",
        "prog|--client-secret|{abc}|--auth-token|{def}",
        "prog|--pwd={x}|--pwd|{y}",
        "prog|--password={/etc/looks-like-a-path}",
        "prog|--password={a=b&c;d}",
        "env|AWS_SECRET_ACCESS_KEY={wJalrXUtnFEMI/K7MDENG}|aws|s3|ls",
        "docker|run|-e|MYSQL_ROOT_PASSWORD={hunter2}|mysql:8",
        "sh|-c|PGPASSWORD={hunter2} psql -h db",
        "sh|-c|PGPASSWORD=\"{hunter 2}\" psql -h db",
        "sh|-c|DB_PWD='{hunter 2}' run",
        "sqlcmd|-S|Server=db;Uid=sa;Pwd={hunter2};Encrypt=yes",
        "mount|-o|username=joe,password={hunter2},ro|//srv/x|/mnt",
        "kubectl|create|secret|generic|x|--from-literal=password={hunter2}",
        "curl|https://api/x?token={abc}&page=2",
        "curl|-d|\\\"user\":\"joe\",\"password\":\"{hunter2}\"~|https://api",
        "sh|-c|curl -d \"\\\"token\": '{abc}'~\"",
        "git|clone|https://joe:{hunter2}@example.com/x.git",
        "git|clone|https://:{hunter2}@example.com/x.git",
        "psql|postgresql://joe:{p@ss:word}@db:5432/x?sslmode=off",
        "sh|-c|pg_dump postgres://joe:{hunter2}@db/x > /tmp/dump",
        "curl|-H|Authorization: Bearer {xyz.abc}|https://api",
        "curl|-H|authorization:Basic {am9lOmh1bnRlcjI=}",
        "sh|-c|curl -H \"Authorization: {xyz}\" https://api",
        "curl|-H|X-Api-Key: {0123}|-H|Accept: text/html",
        "curl|-H|PRIVATE-TOKEN: {0123}",
        "curl|--header|Cookie: {session=0123; other=4}",
        "sh|-c|curl -s -u joe:{hunter2} https://api -o x; true",
        "sh|-c|cd /; curl --user 'joe:{hunter2}' https://api",
        "curl|-u|joe:{hunter2}|https://api",
        "/usr/bin/curl|-s|-ujoe:{hunter2}|https://api",
        "curl|--user=joe:{hunter2}|--proxy-user|me:{too}|https://api",
        "curl|-sSU|me:{too}|-su|joe:{hunter2}",
        "mysql|-u|root|-p{hunter2}|db",
        "/usr/bin/mysqldump|-p{hunter2}|db",
        "sshpass|-p|{hunter2}|ssh|host",
        "sshpass|-p{hunter2}|ssh|host",
        "sh|-c|sshpass -p '{hunter 2}' ssh host",
        "redis-cli|-h|db|-a|{hunter2}|ping",
        "ldapsearch|-x|-D|cn=admin|-w|{hunter2}",
        "openssl|rsa|-passin|pass:{hunter2}|-in|key.pem",
        "smbclient|-U|joe%{hunter2}|//srv/x",
        "htpasswd|-nbB|joe|{hunter2}",
        "htpasswd|-b|/etc/users|joe|{hunter2}",
        "sh|-c|echo joe:{hunter2} ^ chpasswd",
        "prog|{ghp_0123456789abcdef0123456789abcdef0123}",
        "git|push|https://{ghp_0123456789abcdef0123456789abcdef0123}@example.com/x",
        "prog|x={glpat-0123456789abcdef0123}",
        "prog|{xoxb-0123456789-abcdef}",
        "prog|{sk_live_0123456789abcdef}",
        "prog|{AIzaSyA0123456789abcdef0123456789abcdef}",
        "prog|{hvs.CAESIJ0123456789abcdef0123456789}",
        "prog|{eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.SflKxwRJSMeKKF2QT4}",
        "prog|-----BEGIN RSA PRIVATE KEY-----{\nMIIE\nabc\n}-----END RSA PRIVATE KEY-----",
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        set_args(cases[i]);
        if (!redact_event(r, &in.ev, &out))
            fail_msg("nothing was taken out of %s", cases[i]);
        assert_true(event_valid(&out, sizeof out));
        assert_string_equal(args_out(&out.ev), args_wanted(cases[i]));
        assert_true(same_text(&in.ev, &out.ev, F_COMM));
        assert_int_equal(out.ev.cell[F_PID].num, 7);
        assert_int_equal(out.ev.why[F_ARGS], WHY_TAP);
        assert_null(
            memmem(&out, out.ev.size, "hunter", 6)); /* not in bytes that no field has, too */
    }
}

static void what_is_no_secret_stays(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "gcc|-std=gnu11|-Isrc|-I/usr/include/luajit-2.1|-D_GNU_SOURCE|-c|-o|build/obj/x.o|src/x.c",
        "make|-s|-j2|all",
        "sh|-c|cd /tmp && PWD=/home/joe OLDPWD=/ ls",
        "ssh|-i|/home/joe/.ssh/id_ed25519|joe@example.com",
        "scp|x|joe@example.com:/tmp/y",
        "git|clone|git@example.com:x/y.git",
        "curl|https://example.com:8080/a@b",
        "curl|-u|joe|https://example.com:8080/",
        "sort|-u|a:b",
        "docker|run|-u|1000:1000|alpine",
        "vi|/etc/passwd",
        "passwd|joe",
        "cat|/etc/ssl/private/key.pem",
        "cp|-p|a|b",
        "mysql|--port=3306|db",
        "psql|--no-password|--host=db",
        "keyctl|show",
        "prog|",
        "",
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        for (int twice = 0; twice < 2; twice++) {
            set_args(cases[i]);
            if (redact_event(r, &in.ev, &out))
                fail_msg("%s became %s", cases[i], args_out(&out.ev));
        }
    event_begin(&in, EVENT_EXIT);
    assert_false(redact_event(r, &in.ev, &out));
    event_set_text(&in, F_ARGS, "", 0, WHY_PROC);
    assert_false(redact_event(r, &in.ev, &out));
    event_set_missing(&in, F_ARGS, WHY_GONE);
    assert_false(redact_event(r, &in.ev, &out));
}

static void the_same_secret_is_known_again_and_no_other(void **state)
{
    (void)state;
    static const char *const cases[] = { "a|--password|{hunter2}", "b|-c|PGPASSWORD={hunter2} psql",
                                         "c|--token={hunter3}" };
    char tokens[3][64];
    for (size_t i = 0; i < 3; i++) {
        set_args(cases[i]);
        assert_true(redact_event(r, &in.ev, &out));
        args_out(&out.ev);
        memcpy(tokens[i], token, sizeof token);
    }
    assert_string_equal(tokens[0], tokens[1]);
    assert_string_not_equal(tokens[0], tokens[2]);

    struct redact *other;
    struct redact_rules some = { .args = { rules[0], 5 } };
    assert_int_equal(redact_new(&other, &some, why, sizeof why), 0);
    set_args(cases[0]);
    assert_true(redact_event(other, &in.ev, &out));
    args_out(&out.ev);
    assert_string_not_equal(tokens[0], token); /* another key */
    redact_free(other);
}

static void a_process_that_changes_its_arguments_is_looked_at_again(void **state)
{
    (void)state;
    set_args("prog|--verbose");
    assert_false(redact_event(r, &in.ev, &out));
    set_args("prog|--token={abc}");
    assert_true(redact_event(r, &in.ev, &out));
    set_args("prog|--verbose");
    assert_false(redact_event(r, &in.ev, &out));
}

/* As long as they can be, of many secrets, of none, and such that expressions try much. */
static void long_arguments_are_no_way_around(void **state)
{
    (void)state;
    static char args[EVENT_TEXT_MAX];
    static const char *const parts[] = { "--password=x", "a",          "--pass", "-key",
                                         "pass:",        "https://a:", "eyJ",    "curl",
                                         "'\"token",     "-u",         "sshpass" };
    for (size_t i = 0; i < COUNT(parts); i++)
        for (int nul = 0; nul < 3; nul++) {
            size_t len = 0, part = strlen(parts[i]);
            if (nul == 2)
                len = (size_t)sprintf(args, "curl") + 1;
            while (len + part + 32 < sizeof args) {
                memcpy(args + len, parts[i], part);
                len += part;
                if (nul)
                    args[len++] = '\0';
            }
            len += (size_t)sprintf(args + len, "%c--password=hunter2", 0) + 1;
            event_begin(&in, EVENT_EXEC);
            event_set_text(&in, F_ARGS, args, len, WHY_TAP);
            int64_t began = clock_thread_cpu_ns();
            assert_true(redact_event(r, &in.ev, &out));
            assert_true(clock_thread_cpu_ns() - began < NS_PER_SECOND / 10); /* 2 ms mostly */
            assert_true(event_valid(&out, sizeof out));
            assert_null(memmem(&out, out.ev.size, "hunter2", 7));
        }
}

static void what_grows_too_long_is_cut_and_says_so(void **state)
{
    (void)state;
    static char args[EVENT_TEXT_MAX];
    memset(args, 'x', sizeof args - 1);
    memcpy(args, "prog\0--token=a", 15);
    event_begin(&in, EVENT_EXEC);
    event_set_text(&in, F_ARGS, args, sizeof args, WHY_TAP);
    assert_true(redact_event(r, &in.ev, &out));
    assert_true(event_valid(&out, sizeof out));
    assert_int_equal(event_int(&out.ev, F_TRUNCATED, 0), 1);
}

static void an_expression_at_its_limit_takes_everything_out(void **state)
{
    (void)state;
    struct redact *other;
    static const struct redact_rule slow[] = { { "(a+)+$", 6, NULL, 0 } };
    struct redact_rules some = { .args = { slow, 1 }, .values = { slow, 1 } };
    assert_int_equal(redact_new(&other, &some, why, sizeof why), 0);
    set_args("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab");
    assert_true(redact_event(other, &in.ev, &out));
    assert_string_equal(args_out(&out.ev), "{...}");
    redact_free(other);
}

/* --- rules ------------------------------------------------------------------------------------ */

static void a_rule_that_is_wrong_is_named(void **state)
{
    (void)state;
    struct redact *other;
    static char long_one[REDACT_LONGEST + 1];
    memset(long_one, 'x', sizeof long_one);
    struct redact_literal empty = { "", 0 }, large = { long_one, REDACT_LITERAL + 1 };
    struct redact_rule bad[] = { { "fine", 4, NULL, 0 }, { "a(b", 3, NULL, 0 } };
    struct redact_rules some = { .values = { bad, 2 } };
    assert_int_equal(redact_new(&other, &some, why, sizeof why), -EINVAL);
    assert_non_null(strstr(why, "rule 2 of values: missing closing parenthesis"));
    bad[1] = (struct redact_rule){ long_one, sizeof long_one, NULL, 0 };
    assert_int_equal(redact_new(&other, &some, why, sizeof why), -EINVAL);
    assert_non_null(strstr(why, "too long"));
    bad[1] = (struct redact_rule){ "x", 1, &empty, 1 };
    assert_int_equal(redact_new(&other, &some, why, sizeof why), -EINVAL);
    assert_non_null(strstr(why, "literal"));
    bad[1].has = &large;
    assert_int_equal(redact_new(&other, &some, why, sizeof why), -EINVAL);
    some.values.len = REDACT_RULES + 1;
    assert_int_equal(redact_new(&other, &some, why, sizeof why), -EINVAL);
    assert_non_null(strstr(why, "too many"));
}

/* --- environments ----------------------------------------------------------------------------- */

static void add_cell(struct buf *to, const char *text)
{
    uint32_t len = text ? (uint32_t)strlen(text) : ANSWER_NIL;
    buf_add(to, &len, sizeof len);
    if (text)
        buf_add(to, text, len);
}

static void secrets_in_an_environment_are_taken_out(void **state)
{
    (void)state;
    static const struct {
        const char *name, *value, *want;
    } cases[] = {
        { "PATH", "/usr/bin:/bin", "/usr/bin:/bin" },
        { "PWD", "/home/joe", "/home/joe" },
        { "OLDPWD", "/", "/" },
        { "SSH_AUTH_SOCK", "/tmp/ssh/agent.1", "/tmp/ssh/agent.1" },
        { "no-value", NULL, NULL },
        { "EMPTY_PASSWORD", "", "" },
        { "DB_PASSWORD", "hunter2", "{...}" },
        { "db_pwd", "hunter2", "{...}" },
        { "AWS_SECRET_ACCESS_KEY", "wJalr", "{...}" },
        { "GITHUB_TOKEN", "x", "{...}" },
        { "MY_KEY", "x", "{...}" },
        { "DATABASE_URL", "postgres://joe:hunter2@db/x", "postgres://joe:{...}@db/x" },
        { "OTHER", "ghp_0123456789abcdef0123456789abcdef0123", "{...}" },
    };
    struct buf answer = { 0 }, made = { 0 };
    for (size_t i = 0; i < COUNT(cases); i++) {
        add_cell(&answer, cases[i].name);
        add_cell(&answer, cases[i].value);
    }
    buf_puts(&made, "before");
    assert_int_equal(redact_answer(r, TOPIC_ENVIRON, answer.data, answer.len, &made), 1);
    const char *at = made.data + 6, *end = made.data + made.len;
    struct answer_cell cell;
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_true(answer_next(&at, end, TYPE_TEXT, &cell));
        assert_int_equal(cell.len, strlen(cases[i].name));
        assert_memory_equal(cell.bytes, cases[i].name, cell.len);
        assert_true(answer_next(&at, end, TYPE_TEXT, &cell));
        assert_int_equal(cell.nil, !cases[i].want);
        if (cell.nil)
            continue;
        set_args("");
        event_set_text(&in, F_ARGS, cell.bytes, cell.len, WHY_TAP);
        if (cell.len)
            assert_string_equal(args_out(&in.ev), cases[i].want);
        else
            assert_string_equal("", cases[i].want);
    }
    assert_ptr_equal(at, end);

    size_t len = made.len; /* nothing more to take out; not an environment; no whole answer */
    assert_int_equal(redact_answer(r, TOPIC_ENVIRON, made.data + 6, 0, &made), 0);
    assert_int_equal(redact_answer(r, TOPIC_FDS, answer.data, answer.len, &made), 0);
    assert_int_equal(made.len, len);
    answer.len = 0;
    add_cell(&answer, "PATH");
    add_cell(&answer, "/usr/bin");
    assert_int_equal(redact_answer(r, TOPIC_ENVIRON, answer.data, answer.len, &made), 0);
    assert_int_equal(made.len, len);
    assert_int_equal(redact_answer(r, TOPIC_ENVIRON, answer.data, answer.len - 1, &made), 1);
    assert_int_equal(made.len, len); /* a variable that is cut is left out */
    buf_free(&answer);
    buf_free(&made);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(secrets_in_arguments_are_taken_out),
        cmocka_unit_test(what_is_no_secret_stays),
        cmocka_unit_test(the_same_secret_is_known_again_and_no_other),
        cmocka_unit_test(a_process_that_changes_its_arguments_is_looked_at_again),
        cmocka_unit_test(long_arguments_are_no_way_around),
        cmocka_unit_test(what_grows_too_long_is_cut_and_says_so),
        cmocka_unit_test(an_expression_at_its_limit_takes_everything_out),
        cmocka_unit_test(a_rule_that_is_wrong_is_named),
        cmocka_unit_test(secrets_in_an_environment_are_taken_out),
    };
    return cmocka_run_group_tests_name("record_redact", tests, load, unload);
}
