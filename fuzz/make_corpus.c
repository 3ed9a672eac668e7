/**
 * make_corpus.c - writes the seeds of every target: make_corpus DIRECTORY. Not a target. What it
 * writes is in fuzz/corpus already; run it again when a format changes.
 */
#include "make_corpus.h"

#include "craft.h"

#include <stdio.h>
#include <sys/stat.h>

static const char *directory;

void fuzz_corpus_save(const char *target, const char *name, struct hf_bytes bytes)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", directory, target);
    (void)mkdir(path, 0777);
    snprintf(path, sizeof path, "%s/%s/%s", directory, target, name);
    FILE *file = fopen(path, "wb");
    FUZZ_CHECK(file != NULL);
    FUZZ_CHECK(fwrite(bytes.data, 1, bytes.len, file) == bytes.len);
    FUZZ_CHECK(fclose(file) == 0);
}

/* Texts, each a seed; `front` bytes of choice stand before each. */
static void save_texts(const char *target, const char *front, size_t front_len,
                       const char *const *texts, size_t count)
{
    char name[32];
    uint8_t seed[2048];
    for (size_t i = 0; i < count; i++) {
        struct hf_writer writer = hf_writer_of(seed, sizeof seed);
        hf_writer_bytes(&writer, front, front_len);
        hf_writer_bytes(&writer, texts[i], strlen(texts[i]));
        FUZZ_CHECK(!writer.is_failed);
        snprintf(name, sizeof name, "seed-%02zu", i);
        fuzz_corpus_save(target, name, (struct hf_bytes){seed, writer.len});
    }
}

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define KEY "000102030405060708090a0b0c0d0e0f"

static void save_keyfiles(void)
{
    static const char *const texts[] = {
        "client:" KEY "\n",
        "# comment\n\nclient:" KEY ":/cse-1/Cae\r\n#3a00ff:" KEY KEY KEY KEY ":/cse-2\n",
        "a:" KEY "\na:" KEY "\n",
        "d\xc3\xa9j\xc3\xa0:000102030405060708090A0B0C0D0E0F:Sae\n\t \n#\n",
        "client:0001\n",
        "#zz:" KEY "\n",
        "client:" KEY ":\n",
        "client:" KEY ":nonsense\n",
        "client\n",
        ":" KEY "\n",
        "\xef\xbb\xbf"
        "client:" KEY "\n",
    };
    save_texts("keyfile", "", 0, texts, COUNT(texts));
}

static void save_entitymaps(void)
{
    static const char *const texts[] = {
        "31-0.2.481.1.100.3030.10011 //sp.example/S1,//sp.example/S2\n",
        "# comment\n\n31-1.2.3-00ff /mn-cse\r\n34-urn:gsma:imei:9-0\t//sp.example/in-cse",
        "30-sha-256-128-AAAAAAAAAAAAAAAAAAAAAA //sp.example/S7\n \t\n#\n",
        "31-1 /a\n31-1 /b\n",
        "31-1 S1,/cse\n",
        "32-in-cse.sp.example /a\n",
        "31-1 S1,\n",
        "\xef\xbb\xbf#\n",
    };
    save_texts("entitymap", "", 0, texts, COUNT(texts));
}

static void save_http(void)
{
    static const char *const texts[] = {
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "HEAD /whoami HTTP/1.1\r\nConnection: close\r\n\r\n",
        "GET /1 HTTP/1.0\r\n\r\nGET /2 HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\n\r\n",
        "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nT: r\r\n\r\n",
        "CONNECT x:1 HTTP/1.1\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "\x16\x03\x01\x02",
    };
    save_texts("http", "\x04\x00\x02", 3, texts, COUNT(texts));
}

static void save_coap(void)
{
#define PATH "\xb6whoami"
    static const struct {
        const char *data;
        size_t len;
    } messages[] = {
        {"\x42\x01\x12\x34\xAA\xBB" PATH, 13},
        {"\x51\x01\x12\x34\x07" PATH, 12},
        {"\x40\x00\x12\x34", 4},
        {"\x40\x02\x00\x01" PATH, 11},
        {"\x40\x01\x00\x01" PATH "\x61\x32", 13},
        {"\x40\x01\x00\x01" PATH "\xc1\x06", 13},
        {"\x40\x01\x00\x01" PATH "\xd0\x05", 13},
        {"\x40\x01\x00\x01" PATH "\xc2\x01\x10", 14},
        {"\x40\x01\x00\x01" PATH "\xd1\x0f\x00\xff\x01", 16},
        {"\x60\x00\x12\x34", 4},
    };
    char name[32];
    uint8_t seed[64];
    for (size_t i = 0; i < COUNT(messages); i++) {
        struct hf_writer writer = hf_writer_of(seed, sizeof seed);
        hf_writer_u16(&writer, (uint16_t)(i % 4 * 0x0501));
        hf_writer_bytes(&writer, messages[i].data, messages[i].len);
        snprintf(name, sizeof name, "seed-%02zu", i);
        fuzz_corpus_save("coap", name, (struct hf_bytes){seed, writer.len});
    }
}

static void save_endpoints(void)
{
    static const char *const texts[] = {
        "127.0.0.1:5684",
        "[::1]:5684",
        "*:0",
        "[2001:db8::1%2]:65535",
        "[::]:5684",
        "[fe80::1%lo]:443",
        "1.2.3.4:65536",
        "[::ffff:1.2.3.4]:1",
        "localhost:5684",
        "[1:0:0:2:0:0:0:3]:9",
        "[::1%]:1",
        "0xC0A8",
        "PSK_AES_128_CCM",
        "TLS_PSK_WITH_AES_128_CBC_SHA256",
    };
    save_texts("endpoint", "", 0, texts, COUNT(texts));
}

static void save_control_requests(void)
{
    static const char *const texts[] = {
        "{\"command\":\"status\"}",
        "{\"command\":\"reload\",\"force\":true}",
        "{\"command\":\"log-level\",\"level\":\"debug\"}",
        "{\"command\":\"assoc-list\",\"limit\":7,\"match\":\"dev\"}",
        "{\"command\":\"assoc-list\",\"cursor\":\"0000000100000007\"}",
        "{\"command\":\"assoc-show\",\"association\":\"0100000000000002\"}",
        "{\"command\":\"assoc-close\",\"association\":\"0100000000000002\"}",
        "{\"command\":\"why\",\"subject\":\"127.0.0.1:5684\"}",
        "{\"command\":\"why\",\"subject_hex\":\"6465763a31\"}",
        "{\"command\":\"hash\",\"subject\":\"a\\u0000b\"}",
        "{\"command\":\"restart\"}",
        "{\"command\":\"drain\",\"seconds\":30}",
    };
    save_texts("control_request", "", 0, texts, COUNT(texts));
}

/* Alerts at every stage: what kind comes first, as alert.c reads it. */
static void save_alerts(void)
{
    static const uint8_t alerts[][9] = {
        {0x00, 1, 0},                            /* close_notify */
        {0x00, 2, 40},                           /* fatal */
        {0x00, 1, 90, 0x00, 1, 100, 0x00, 2, 0}, /* warnings, then fatal close_notify */
        {0x00, 3, 3},                            /* no such level */
        {0x0B, 1, 0x23, 1, 2, 3, 4},             /* one byte, then four */
    };
    char name[32];
    for (uint8_t stage = 0; stage < 10; stage++) {
        for (size_t i = 0; i < COUNT(alerts); i++) {
            uint8_t seed[10] = {stage};
            memcpy(seed + 1, alerts[i], 9);
            snprintf(name, sizeof name, "stage-%u-%zu", stage, i);
            fuzz_corpus_save("alert", name, (struct hf_bytes){seed, sizeof seed});
        }
    }
}

static void save_finished(void)
{
    static const uint8_t stream[] = {0, 20, 0, 0, 12, [16] = 1};
    static const uint8_t datagram[] = {1, 20, 0, 0, 12, 0, 3, 0, 0, 0, 0, 0, 12, [24] = 1};
    static const uint8_t parts[] = {1,  20, 0, 0,  12, 0, 3, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0,
                                    20, 0,  0, 12, 0,  3, 0, 0, 6, 0, 0, 6, 0, 0, 0, 0, 0, 0};
    static const uint8_t hello[] = {0, 1, 0, 0, 2, 0, 0};
    fuzz_corpus_save("finished", "stream", (struct hf_bytes){stream, sizeof stream});
    fuzz_corpus_save("finished", "datagram", (struct hf_bytes){datagram, sizeof datagram});
    fuzz_corpus_save("finished", "parts", (struct hf_bytes){parts, sizeof parts});
    fuzz_corpus_save("finished", "hello", (struct hf_bytes){hello, sizeof hello});
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: make_corpus DIRECTORY\n");
        return 2;
    }
    directory = argv[1];
    (void)mkdir(directory, 0777);
    save_keyfiles();
    save_entitymaps();
    save_http();
    save_coap();
    save_endpoints();
    save_control_requests();
    save_alerts();
    save_finished();
    fuzz_corpus_handshakes();
    fuzz_corpus_chains();
    fuzz_corpus_duels();
    fuzz_corpus_transfers();
    fuzz_corpus_cids();
    return 0;
}
