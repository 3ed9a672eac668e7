/**
 * calendar.c - see calendar.h. The proleptic Gregorian calendar counted from 1 March, so that the
 * leap day is the last of its year.
 */
#include "calendar.h"

#include <stdio.h>

#define DAY_S 86400
#define DAYS_PER_400_YEARS 146097
#define DAYS_TO_1970 719468 /* from 1 March of year 0 */

static bool read_digits(int *out, const char *text, size_t count)
{
    int value = 0;
    for (size_t i = 0; i < count; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        value = 10 * value + (text[i] - '0');
    }
    *out = value;
    return true;
}

static int64_t days_of(int year, int month, int day)
{
    int64_t years = month > 2 ? year : year - 1;
    int64_t in_era = years % 400;
    int64_t in_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    return years / 400 * DAYS_PER_400_YEARS + in_era * 365 + in_era / 4 - in_era / 100 + in_year -
           DAYS_TO_1970;
}

static void date_of(int *year, int *month, int *day, int64_t days)
{
    days += DAYS_TO_1970;
    int64_t in_era = days % DAYS_PER_400_YEARS;
    int64_t years = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
    int64_t in_year = in_era - (365 * years + years / 4 - years / 100);
    int64_t months = (5 * in_year + 2) / 153;
    *day = (int)(in_year - (153 * months + 2) / 5 + 1);
    *month = (int)(months < 10 ? months + 3 : months - 9);
    *year = (int)(days / DAYS_PER_400_YEARS * 400 + years + (*month <= 2));
}

bool hf_calendar_read(int64_t *out, const char *text)
{
    int year;
    int month;
    int day;
    int hour;
    int minute;
    int second;
    if (!read_digits(&year, text, 4) || !read_digits(&month, text + 4, 2) ||
        !read_digits(&day, text + 6, 2) || text[8] != 'T' || !read_digits(&hour, text + 9, 2) ||
        !read_digits(&minute, text + 11, 2) || !read_digits(&second, text + 13, 2))
        return false;
    if (year < 1970 || month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 ||
        second > 60)
        return false;
    int64_t days = days_of(year, month, day);
    int same_year;
    int same_month;
    int same_day;
    date_of(&same_year, &same_month, &same_day, days);
    if (same_day != day || same_month != month)
        return false; /* 31 April */
    *out = days * DAY_S + hour * 3600 + minute * 60 + second;
    return true;
}

void hf_calendar_print(char out[HF_CALENDAR_LEN + 1], int64_t seconds)
{
    int year;
    int month;
    int day;
    date_of(&year, &month, &day, seconds / DAY_S);
    int in_day = (int)(seconds % DAY_S);
    snprintf(out, HF_CALENDAR_LEN + 1, "%04u%02u%02uT%02u%02u%02u", (unsigned)year % 10000,
             (unsigned)month % 100, (unsigned)day % 100, (unsigned)(in_day / 3600) % 100,
             (unsigned)(in_day / 60 % 60) % 100, (unsigned)(in_day % 60) % 100);
}
