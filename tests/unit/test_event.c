/* test_event.c - records hold what was put in, and bytes that are no record are refused. */
#include "event/event.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array)              (sizeof(array) / sizeof *(array))
#define TEXT(box, field, literal) event_set_text(box, field, literal, sizeof(literal) - 1, WHY_PROC)

static struct event_box box, other;
static char big[EVENT_TEXT_MAX + 100];

static void assert_text(const struct event *ev, enum event_field field, const char *want,
                        size_t want_len)
{
    size_t len;
    const char *bytes = event_text(ev, field, &len);
    assert_non_null(bytes);
    assert_int_equal(len, want_len);
    assert_memory_equal(bytes, want, len);
}

/* --- names ------------------------------------------------------------------------------ */

static void every_kind_is_found_by_its_name(void **state)
{
    (void)state;
    for (int kind = EVENT_NONE + 1; kind < EVENT_KINDS; kind++) {
        assert_string_not_equal(event_kind_name(kind), "none");
        assert_int_equal(event_kind_named(event_kind_name(kind)), kind);
    }
    assert_int_equal(event_kind_named("none"), EVENT_NONE);
    assert_int_equal(event_kind_named(""), EVENT_NONE);
    assert_int_equal(event_kind_named("exe"), EVENT_NONE);
    assert_string_equal(event_kind_name(EVENT_KINDS), "none");
    assert_string_equal(event_kind_name((enum event_kind) - 1), "none");
}

static void every_field_is_found_by_its_name(void **state)
{
    (void)state;
    for (int field = 0; field < EVENT_FIELDS; field++)
        assert_int_equal(event_field_named(event_fields[field].name), field);
    assert_int_equal(event_field_named("pids"), -1);
    assert_int_equal(event_field_named(""), -1);
}

static void every_field_has_a_kind_a_path_and_a_word_of_explanation(void **state)
{
    (void)state;
    for (int field = 0; field < EVENT_FIELDS; field++) {
        assert_int_not_equal(event_fields[field].kinds, 0);
        assert_true(*event_fields[field].ecs && *event_fields[field].doc);
    }
    for (int derived = 0; derived < EVENT_DERIVED; derived++) {
        assert_int_equal(event_field_named(event_derived[derived].name), -1);
        assert_true(*event_derived[derived].ecs && *event_derived[derived].doc);
    }
}

static void no_two_fields_share_an_ecs_path(void **state)
{
    (void)state;
    for (int a = 0; a < EVENT_FIELDS; a++)
        for (int b = 0; b < a; b++)
            assert_string_not_equal(event_fields[a].ecs, event_fields[b].ecs);
}

static void reasons_say_missing_and_sources_do_not(void **state)
{
    (void)state;
    for (int why = WHY_ABSENT; why <= WHY_UNASKED; why++) {
        const char *text = event_why_text(why);
        if (why > WHY_COMPUTED && why < WHY_MISSING)
            continue;
        assert_int_equal(!strncmp(text, "missing: ", 9), why >= WHY_MISSING);
    }
    assert_string_equal(event_why_text((enum event_why)0xff), "missing");
}

/* --- building --------------------------------------------------------------------------- */

static void a_begun_record_knows_only_its_kind(void **state)
{
    (void)state;
    memset(&box, 0xa5, sizeof box);
    event_begin(&box, EVENT_EXEC);
    assert_int_equal(event_kind(&box.ev), EVENT_EXEC);
    assert_true(event_has(&box.ev, F_TYPE));
    for (int field = F_TYPE + 1; field < EVENT_FIELDS; field++) {
        size_t len = 1;
        assert_false(event_has(&box.ev, field));
        assert_int_equal(event_int(&box.ev, field, -7), -7);
        assert_null(event_text(&box.ev, field, &len));
        assert_int_equal(len, 0);
    }
    assert_true(event_valid(&box, sizeof box));
}

static void a_value_comes_back_and_a_reason_is_no_value(void **state)
{
    (void)state;
    event_begin(&box, EVENT_EXEC);
    for (int why = WHY_KERNEL; why <= WHY_COMPUTED; why++) {
        event_set(&box, F_PID, INT64_MIN, why);
        assert_int_equal(event_int(&box.ev, F_PID, 0), INT64_MIN);
    }
    for (int why = WHY_MISSING; why <= WHY_UNASKED; why++) {
        event_set_missing(&box, F_PID, why);
        assert_false(event_has(&box.ev, F_PID));
        assert_int_equal(box.ev.why[F_PID], why);
    }
}

static void text_ends_at_its_first_nul(void **state)
{
    (void)state;
    event_begin(&box, EVENT_EXEC);
    assert_true(TEXT(&box, F_COMM, "ab\0cd"));
    assert_text(&box.ev, F_COMM, "ab", 2);
    assert_true(TEXT(&box, F_EXE, ""));
    assert_text(&box.ev, F_EXE, "", 0);
    assert_true(event_valid(&box, sizeof box));
}

static void args_keep_their_nuls_and_end_in_one(void **state)
{
    (void)state;
    event_begin(&box, EVENT_EXEC);
    assert_true(TEXT(&box, F_ARGS, "ls\0-l\0"));
    assert_text(&box.ev, F_ARGS, "ls\0-l\0", 6);
    assert_true(TEXT(&box, F_ARGS, "ls\0-l"));
    assert_text(&box.ev, F_ARGS, "ls\0-l\0", 6);
    assert_true(TEXT(&box, F_ARGS, "12345678"));
    assert_text(&box.ev, F_ARGS, "12345678\0", 9);
    assert_true(event_valid(&box, sizeof box));
}

static void text_beyond_the_maximum_is_cut_and_said_to_be(void **state)
{
    (void)state;
    memset(big, 'x', sizeof big);
    event_begin(&box, EVENT_EXEC);
    assert_true(event_set_text(&box, F_EXE, big, EVENT_TEXT_MAX, WHY_PROC));
    event_begin(&box, EVENT_EXEC);
    assert_false(event_set_text(&box, F_EXE, big, EVENT_TEXT_MAX + 1, WHY_PROC));
    assert_text(&box.ev, F_EXE, big, EVENT_TEXT_MAX);
    event_begin(&box, EVENT_EXEC);
    assert_false(event_set_text(&box, F_ARGS, big, sizeof big, WHY_PROC));
    assert_int_equal(box.ev.cell[F_ARGS].text.len, EVENT_TEXT_MAX + 1);
    assert_true(event_valid(&box, sizeof box));
}

static void a_record_stays_inside_its_maximum(void **state)
{
    (void)state;
    memset(big, 'x', sizeof big);
    event_begin(&box, EVENT_EXEC);
    assert_true(event_set_text(&box, F_EXE, big, EVENT_TEXT_MAX, WHY_PROC));
    assert_false(event_set_text(&box, F_CWD, big, EVENT_TEXT_MAX, WHY_PROC));
    assert_int_equal(box.ev.why[F_CWD], WHY_ABSENT);
    assert_true(TEXT(&box, F_COMM, "still fits"));
    for (int i = 0; i < 100; i++)
        event_set_text(&box, F_CWD, big, 1000, WHY_PROC);
    assert_in_range(box.ev.size, EVENT_MAX - 1000 - 8, EVENT_MAX);
    assert_text(&box.ev, F_COMM, "still fits", 10);
    assert_true(event_valid(&box, sizeof box));
}

static void a_text_that_fills_the_record_to_its_last_byte_fits(void **state)
{
    (void)state;
    memset(big, 'x', sizeof big);
    event_begin(&box, EVENT_EXEC);
    event_set_text(&box, F_EXE, big, EVENT_TEXT_MAX, WHY_PROC);
    size_t left = sizeof box - box.ev.size;
    assert_true(event_set_text(&box, F_CWD, big, left, WHY_PROC));
    assert_int_equal(box.ev.size, EVENT_MAX);
    assert_true(event_set_text(&box, F_COMM, "", 0, WHY_PROC));
    assert_false(event_set_text(&box, F_COMM, "x", 1, WHY_PROC));
    assert_true(event_valid(&box, sizeof box));
}

static void copies_carry_the_value_and_the_reason(void **state)
{
    (void)state;
    event_begin(&other, EVENT_SNAPSHOT);
    event_set(&other, F_PID, 42, WHY_PROC);
    TEXT(&other, F_COMM, "sh");
    TEXT(&other, F_ARGS, "sh\0");
    event_set_missing(&other, F_EXE, WHY_DENIED);

    event_begin(&box, EVENT_EXEC);
    event_copy_field(&box, F_PPID, &other.ev, F_PID, WHY_INHERITED);
    event_copy_field(&box, F_COMM, &other.ev, F_COMM, WHY_ABSENT);
    event_copy_field(&box, F_WAS_COMM, &other.ev, F_COMM, WHY_KEPT);
    event_copy_field(&box, F_ARGS, &other.ev, F_ARGS, WHY_ABSENT);
    event_copy_field(&box, F_EXE, &other.ev, F_EXE, WHY_INHERITED);
    event_copy_field(&box, F_CWD, &other.ev, F_CWD, WHY_INHERITED);

    assert_int_equal(event_int(&box.ev, F_PPID, 0), 42);
    assert_int_equal(box.ev.why[F_PPID], WHY_INHERITED);
    assert_text(&box.ev, F_COMM, "sh", 2);
    assert_int_equal(box.ev.why[F_COMM], WHY_PROC);
    assert_text(&box.ev, F_WAS_COMM, "sh", 2);
    assert_int_equal(box.ev.why[F_WAS_COMM], WHY_KEPT);
    assert_text(&box.ev, F_ARGS, "sh\0", 3);
    assert_int_equal(box.ev.why[F_EXE], WHY_DENIED);
    assert_int_equal(box.ev.why[F_CWD], WHY_ABSENT);
}

/* --- bytes from outside ----------------------------------------------------------------- */

enum damage {
    NONE,
    SIZE_ZERO,
    SIZE_HEADER_LESS,
    SIZE_ODD,
    SIZE_BEYOND_LEN,
    SIZE_HUGE,
    VERSION,
    FIELDS,
    NO_TYPE,
    TYPE_MISSING,
    TYPE_TOO_LARGE,
    TYPE_NEGATIVE,
    OFF_IN_HEADER,
    OFF_BEYOND,
    LEN_BEYOND,
    LEN_WRAPS,
    ARGS_OPEN,
};

static const struct {
    const char *why;
    enum damage damage;
    bool want;
} damages[] = {
    { "as built", NONE, true },
    { "size 0", SIZE_ZERO, false },
    { "size smaller than the header", SIZE_HEADER_LESS, false },
    { "size not a multiple of 8", SIZE_ODD, false },
    { "size larger than what was received", SIZE_BEYOND_LEN, false },
    { "size 4 GiB", SIZE_HUGE, false },
    { "another version", VERSION, false },
    { "another number of fields", FIELDS, false },
    { "no kind", NO_TYPE, false },
    { "a reason in place of the kind", TYPE_MISSING, false },
    { "a kind that does not exist", TYPE_TOO_LARGE, false },
    { "a negative kind", TYPE_NEGATIVE, false },
    { "text inside the header", OFF_IN_HEADER, false },
    { "text behind the end", OFF_BEYOND, false },
    { "text longer than the record", LEN_BEYOND, false },
    { "offset and length that wrap around", LEN_WRAPS, false },
    { "args without their last NUL", ARGS_OPEN, false },
};

static void do_damage(struct event *ev, enum damage damage)
{
    switch (damage) {
    case NONE:
        break;
    case SIZE_ZERO:
        ev->size = 0;
        break;
    case SIZE_HEADER_LESS:
        ev->size = sizeof *ev - 8;
        break;
    case SIZE_ODD:
        ev->size--;
        break;
    case SIZE_BEYOND_LEN:
        ev->size += 8;
        break;
    case SIZE_HUGE:
        ev->size = UINT32_MAX - 7;
        break;
    case VERSION:
        ev->version++;
        break;
    case FIELDS:
        ev->fields--;
        break;
    case NO_TYPE:
        ev->why[F_TYPE] = WHY_ABSENT;
        break;
    case TYPE_MISSING:
        ev->why[F_TYPE] = WHY_GONE;
        break;
    case TYPE_TOO_LARGE:
        ev->cell[F_TYPE].num = EVENT_KINDS;
        break;
    case TYPE_NEGATIVE:
        ev->cell[F_TYPE].num = -1;
        break;
    case OFF_IN_HEADER:
        ev->cell[F_COMM].text.off = sizeof *ev - 1;
        break;
    case OFF_BEYOND:
        ev->cell[F_COMM].text.off = ev->size + 1;
        ev->cell[F_COMM].text.len = 0;
        break;
    case LEN_BEYOND:
        ev->cell[F_COMM].text.len = ev->size - ev->cell[F_COMM].text.off + 1;
        break;
    case LEN_WRAPS:
        ev->cell[F_COMM].text.len = UINT32_MAX - ev->cell[F_COMM].text.off + 2;
        break;
    case ARGS_OPEN:
        ev->cell[F_ARGS].text.len--;
        break;
    }
}

static void build_small(struct event_box *to)
{
    event_begin(to, EVENT_EXEC);
    TEXT(to, F_COMM, "shell");
    TEXT(to, F_ARGS, "sh\0-c\0");
}

static void damaged_records_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(damages); i++) {
        build_small(&box);
        size_t len = box.ev.size;
        do_damage(&box.ev, damages[i].damage);
        if (event_valid(&box, len) != damages[i].want)
            fail_msg("%s: valid is %d", damages[i].why, !damages[i].want);
    }
}

static void a_record_cut_anywhere_is_refused(void **state)
{
    (void)state;
    build_small(&box);
    for (size_t len = 0; len < box.ev.size; len++)
        assert_false(event_valid(&box, len));
    assert_true(event_valid(&box, box.ev.size));
    assert_true(event_valid(&box, box.ev.size + 1));
}

static void a_record_at_an_odd_address_is_refused(void **state)
{
    (void)state;
    build_small(&other);
    memcpy((char *)&box + 4, &other, other.ev.size);
    assert_false(event_valid((char *)&box + 4, other.ev.size));
}

static void the_place_of_a_text_without_value_does_not_matter(void **state)
{
    (void)state;
    build_small(&box);
    box.ev.cell[F_EXE].text.off = UINT32_MAX;
    assert_true(event_valid(&box, box.ev.size));
    event_set_missing(&box, F_COMM, WHY_GONE);
    box.ev.cell[F_COMM].text.off = 1;
    assert_true(event_valid(&box, box.ev.size));
}

/* --- derived ---------------------------------------------------------------------------- */

static void an_id_needs_pid_and_start_time(void **state)
{
    char id[EVENT_ID_MAX];
    (void)state;
    event_begin(&box, EVENT_EXEC);
    assert_int_equal(event_id(&box.ev, 1, id), 0);
    event_set(&box, F_STARTTIME, 7, WHY_PROC);
    assert_int_equal(event_id(&box.ev, 1, id), 0);
    event_set(&box, F_PID, 42, WHY_KERNEL);
    event_set_missing(&box, F_STARTTIME, WHY_GONE);
    assert_int_equal(event_id(&box.ev, 1, id), 0);
    event_set(&box, F_STARTTIME, 7, WHY_PROC);
    assert_int_equal(event_id(&box.ev, UINT64_C(0x3f9d1f0c3b1e4b0e), id), 21);
    assert_string_equal(id, "3f9d1f0c3b1e4b0e-42-7");
}

static void the_longest_id_fits(void **state)
{
    char id[EVENT_ID_MAX];
    (void)state;
    event_begin(&box, EVENT_EXEC);
    event_set(&box, F_PID, INT64_MIN, WHY_KERNEL);
    event_set(&box, F_STARTTIME, INT64_MIN, WHY_KERNEL);
    size_t len = event_id(&box.ev, UINT64_MAX, id);
    assert_in_range(len, 1, EVENT_ID_MAX - 1);
    assert_int_equal(strlen(id), len);
}

static void args_are_joined_by_spaces_up_to_the_capacity(void **state)
{
    char line[16];
    (void)state;
    event_begin(&box, EVENT_EXEC);
    assert_int_equal(event_cmdline(&box.ev, line, sizeof line), 0);
    event_set_text(&box, F_ARGS, "", 0, WHY_PROC);
    assert_int_equal(event_cmdline(&box.ev, line, sizeof line), 0);
    TEXT(&box, F_ARGS, "sh\0-c\0\0x y\0");
    assert_int_equal(event_cmdline(&box.ev, line, sizeof line), 10);
    assert_memory_equal(line, "sh -c  x y", 10);
    memset(line, '#', sizeof line);
    assert_int_equal(event_cmdline(&box.ev, line, 4), 4);
    assert_memory_equal(line, "sh -#", 5);
    assert_int_equal(event_cmdline(&box.ev, line, 0), 0);
}

static void the_boot_id_is_the_start_of_the_kernels(void **state)
{
    char text[64] = "", want[32] = "", got[32];
    (void)state;
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "r");
    if (!file || !fgets(text, sizeof text, file))
        skip();
    fclose(file);
    for (size_t i = 0, digits = 0; text[i] && digits < 16; i++)
        if (text[i] != '-')
            want[digits++] = text[i];
    snprintf(got, sizeof got, "%016llx", (unsigned long long)event_boot_id());
    assert_string_equal(got, want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_is_found_by_its_name),
        cmocka_unit_test(every_field_is_found_by_its_name),
        cmocka_unit_test(every_field_has_a_kind_a_path_and_a_word_of_explanation),
        cmocka_unit_test(no_two_fields_share_an_ecs_path),
        cmocka_unit_test(reasons_say_missing_and_sources_do_not),
        cmocka_unit_test(a_begun_record_knows_only_its_kind),
        cmocka_unit_test(a_value_comes_back_and_a_reason_is_no_value),
        cmocka_unit_test(text_ends_at_its_first_nul),
        cmocka_unit_test(args_keep_their_nuls_and_end_in_one),
        cmocka_unit_test(text_beyond_the_maximum_is_cut_and_said_to_be),
        cmocka_unit_test(a_record_stays_inside_its_maximum),
        cmocka_unit_test(a_text_that_fills_the_record_to_its_last_byte_fits),
        cmocka_unit_test(copies_carry_the_value_and_the_reason),
        cmocka_unit_test(damaged_records_are_refused),
        cmocka_unit_test(a_record_cut_anywhere_is_refused),
        cmocka_unit_test(a_record_at_an_odd_address_is_refused),
        cmocka_unit_test(the_place_of_a_text_without_value_does_not_matter),
        cmocka_unit_test(an_id_needs_pid_and_start_time),
        cmocka_unit_test(the_longest_id_fits),
        cmocka_unit_test(args_are_joined_by_spaces_up_to_the_capacity),
        cmocka_unit_test(the_boot_id_is_the_start_of_the_kernels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
