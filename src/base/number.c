/* number.c - numbers as texts. See number.h. */
#include "base/number.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

const char *number_text(double number, char to[NUMBER_TEXT])
{
    if (floor(number) == number && fabs(number) < 1e15) {
        snprintf(to, NUMBER_TEXT, "%.0f", number == 0 ? 0 : number);
        return to;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(to, NUMBER_TEXT, "%.*g", digits, number);
        if (strtod(to, NULL) == number)
            break;
    }
    return to;
}
