/* needs.h - which fields a script looks at, as far as its text tells.
 *
 * Reads words, not meaning: a field that is mentioned, as a name or as a string, under its own name
 * or that of another schema, is needed; too much costs time and too little costs a value. What no
 * text tells (ev["c" .. "wd"]) the host sees when it is read. Runs nothing, allocates nothing. */
#ifndef HOST_NEEDS_H
#define HOST_NEEDS_H

#include "collect/procfs.h"

#include <stddef.h>
#include <stdint.h>

#define NEEDS_ALL UINT64_MAX

/* FIELD(ARGS) | ... for all that the text mentions; NEEDS_ALL when it hands on whole events:
 *
 *   mw.emit(x), mw.json(x),
 *   sink:emit(x)             unless x is a string, or a table written out in place
 *   pairs(x), next(x)        when x is a parameter of a function, or something's `parent`
 *
 * mw.alert needs what the line of an alert shows. Bytecode cannot be read: NEEDS_ALL. Any bytes may
 * be given. */
uint64_t needs_of_text(const char *text, size_t len);

/* What mw.alert needs. */
#define NEEDS_OF_ALERT                                                                             \
    (FIELD(TIME) | FIELD(PID) | FIELD(COMM) | FIELD(EXE) | FIELD(ARGS) | FIELD(DELETED) |          \
     FIELD(CODE) | FIELD(SIGNAL) | FIELD(CORE))

/* The same for one name, as ev:get() takes it: "cwd", "was.uid", "CommandLine", "proc.pname"; 0
 * when there is no such field. A parent's field is needed of every process. */
uint64_t needs_of_name(const char *name, size_t len);

/* The line, counted from 1, of the first string that is this name; 0 when there is none. */
int needs_line(const char *text, size_t len, const char *name);

#endif
