/* number.h - numbers as texts, each in one way only. */
#ifndef BASE_NUMBER_H
#define BASE_NUMBER_H

#define NUMBER_TEXT 32

/* "5", "-0.25", "1e+300": the shortest that is this number again. Returns `to`. */
const char *number_text(double number, char to[NUMBER_TEXT]);

#endif
