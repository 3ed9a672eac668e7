/**
 * der.c - times and signatures as RFC 5280 and RFC 3279 write them.
 */
#include "der.h"

#include <string.h>

#define SECONDS_PER_DAY 86400

/* Two digits, or -1. */
static int two_digits(const uint8_t *text)
{
    if (text[0] < '0' || text[0] > '9' || text[1] < '0' || text[1] > '9')
        return -1;
    return (text[0] - '0') * 10 + text[1] - '0';
}

/* Days since 1970 of a date of the Gregorian calendar; March is the first month of a year. */
static int64_t days_of(int year, int month, int day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t from_march = (month + 9) % 12;
    return 365 * y + y / 4 - y / 100 + y / 400 + (153 * from_march + 2) / 5 + day - 1 - 719468;
}

static bool is_date(int year, int month, int day)
{
    static const uint8_t lengths[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (month < 1 || month > 12 || day < 1)
        return false;
    return day <= lengths[month - 1] + (month == 2 && is_leap);
}

bool hf__der_get_time(int64_t *out_s, CBS *in)
{
    struct hf_bytes text;
    int century;
    if (CBS_peek_asn1_tag(in, CBS_ASN1_UTCTIME)) {
        if (!hf__der_get(&text, in, CBS_ASN1_UTCTIME) || text.len != 13)
            return false;
        century = text.data[0] >= '5' ? 19 : 20;
    } else {
        if (!hf__der_get(&text, in, CBS_ASN1_GENERALIZEDTIME) || text.len != 15)
            return false;
        century = two_digits(text.data);
        text = (struct hf_bytes){text.data + 2, text.len - 2};
    }
    int field[6];
    for (size_t i = 0; i < 6; i++) {
        field[i] = two_digits(text.data + 2 * i);
        if (field[i] < 0)
            return false;
    }
    int year = century * 100 + field[0];
    if (century < 19 || text.data[12] != 'Z' || !is_date(year, field[1], field[2]) ||
        field[3] > 23 || field[4] > 59 || field[5] > 59)
        return false;
    *out_s = days_of(year, field[1], field[2]) * SECONDS_PER_DAY + field[3] * 3600 + field[4] * 60 +
             field[5];
    return true;
}

/* A non-negative INTEGER of at most 256 bits as 32 bytes. */
static bool get_scalar(uint8_t out[32], CBS *in)
{
    CBS value;
    if (!CBS_get_asn1(in, &value, CBS_ASN1_INTEGER) || !CBS_is_unsigned_asn1_integer(&value))
        return false;
    if (CBS_data(&value)[0] == 0)
        (void)CBS_skip(&value, 1);
    if (CBS_len(&value) > 32)
        return false;
    memset(out, 0, 32);
    memcpy(out + 32 - CBS_len(&value), CBS_data(&value), CBS_len(&value));
    return true;
}

bool hf__der_get_signature(uint8_t out[64], CBS *in)
{
    CBS bits, pair;
    uint8_t unused_bits;
    return CBS_get_asn1(in, &bits, CBS_ASN1_BITSTRING) && CBS_get_u8(&bits, &unused_bits) &&
           unused_bits == 0 && CBS_get_asn1(&bits, &pair, CBS_ASN1_SEQUENCE) &&
           CBS_len(&bits) == 0 && get_scalar(out, &pair) && get_scalar(out + 32, &pair) &&
           CBS_len(&pair) == 0;
}
