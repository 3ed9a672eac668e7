/**
 * chain_lab_test.c - what `handfast pki` makes for the lab (docs/LAB-PKI.md), judged by the chain
 * walk with everything required: CRLs, name constraints.
 *
 *     chain_lab_test HANDFAST PKI.SH
 */
#include <handfast/handfast.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define FILE_MAX 65536

static const char *handfast, *script;
static char place[] = "/tmp/chain_lab_XXXXXX";
static const char names[] = "//m2msp.example/in-cse in-cse.m2msp.example\n";

/** What the lab's credential is to be. */
struct row {
    const char *prefix;
    uint8_t flavours;
    bool is_server;
    enum hf_status status;
    const char *entity_id, *credential_id;
};

static int run(const char *program, const char *first, const char *second, const char *third)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        execl(program, program, first, second, third, (char *)NULL);
        _exit(127);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status)
                                                                           : -1;
}

static struct hf_bytes read_lab_file(uint8_t out[FILE_MAX], const char *prefix, const char *suffix)
{
    char path[256];
    snprintf(path, sizeof path, "%s/lab/%s%s", place, prefix, suffix);
    FILE *file = fopen(path, "rb");
    if (!file)
        fail_msg("no %s", path);
    size_t len = fread(out, 1, FILE_MAX, file);
    fclose(file);
    return (struct hf_bytes){out, len};
}

static struct hf_trust *open_trust(uint8_t flavours, const char *pins)
{
    static uint8_t anchors[FILE_MAX], crls[FILE_MAX];
    struct hf_trust_source source;
    struct hf_trust *trust = NULL;
    const char *why = NULL;
    hf_trust_source_init(&source);
    source.flavours = flavours;
    source.anchors_pem = read_lab_file(anchors, "anchors", ".pem");
    source.crls_pem = read_lab_file(crls, "all", ".crl");
    source.names = (struct hf_bytes){(const uint8_t *)names, sizeof names - 1};
    source.raw_keys = (struct hf_bytes){(const uint8_t *)pins, strlen(pins)};
    source.crl_required = source.name_constraints_required = true;
    source.crl_expired = HF_CRL_EXPIRED_REFUSE;
    if (hf_trust_open(&trust, &why, &source) != HF_OK)
        fail_msg("trust: %s", why);
    return trust;
}

static void judge(const struct row *row, const struct hf_trust *trust, struct hf_bytes message,
                  bool is_raw)
{
    struct hf_job job = {.parts = HF_JOB_CHAIN,
                         .trust = trust,
                         .peer_is_server = row->is_server,
                         .chain_is_raw = is_raw,
                         .wall_s = (int64_t)time(NULL),
                         .chain = message.data,
                         .chain_len = (uint32_t)message.len};
    struct hf_job *jobs = &job;
    hf_job_run(&jobs, 1);
    if (job.status != row->status)
        fail_msg("%s: %s", row->prefix, hf_status_reason(job.status));
    if (job.status != HF_OK)
        return;
    assert_int_equal(job.peer.entity_id_len, strlen(row->entity_id));
    assert_memory_equal(job.peer.entity_id, row->entity_id, job.peer.entity_id_len);
    assert_int_equal(job.peer.credential_id_len, strlen(row->credential_id));
    assert_memory_equal(job.peer.credential_id, row->credential_id, job.peer.credential_id_len);
}

static struct hf_credential *open_credential(const char *prefix, bool is_raw)
{
    static uint8_t chain[FILE_MAX], key[FILE_MAX];
    struct hf_credential_source source = {.key_pem = read_lab_file(key, prefix, ".key")};
    struct hf_credential *credential = NULL;
    const char *why = NULL;
    if (!is_raw)
        source.chain_pem = read_lab_file(chain, prefix, ".pem");
    if (hf_credential_open(&credential, &why, &source) != HF_OK)
        fail_msg("%s: %s", prefix, why);
    return credential;
}

static void test_certificates(void **state)
{
    static const struct row rows[] = {
        {"in-cse", HF_FLAVOUR_CSE_ID, false, HF_OK, "//m2msp.example/in-cse",
         "32-in-cse.m2msp.example"},
        {"in-cse", HF_FLAVOUR_CSE_ID, true, HF_OK, "//m2msp.example/in-cse",
         "32-in-cse.m2msp.example"},
        {"mn-cse", HF_FLAVOUR_CSE_ID, false, HF_OK, "//m2msp.example/mn-cse",
         "32-mn-cse.in-cse.m2msp.example"},
        {"other-in-cse", HF_FLAVOUR_CSE_ID, false, HF_OK, "//other.example/in-cse",
         "32-in-cse.other.example"},
        {"ae", HF_FLAVOUR_AE_ID, false, HF_OK, "//m2msp.example/S42", "33-//m2msp.example/S42"},
        {"ae-behind-cse", HF_FLAVOUR_AE_ID, false, HF_OK, "//m2msp.example/in-cse/C42",
         "33-//m2msp.example/in-cse/C42"},
        {"maf", HF_FLAVOUR_FQDN, true, HF_OK, "maf.m2msp.example", ""},
        {"mef", HF_FLAVOUR_FQDN, true, HF_OK, "mef.m2msp.example", ""},
        {"node", HF_FLAVOUR_NODE_ID, false, HF_OK, "", "34-urn:gsma:imei:90420156-025763-0"},
        {"device", HF_FLAVOUR_DEVICE, false, HF_OK, "", "31-0.2.481.1.100.3030.10011"},
        {"device-open", HF_FLAVOUR_DEVICE, false, HF_OK, "", "31-0.2.481.1.100.3030.10012"},
        {"ae-revoked", HF_FLAVOUR_AE_ID, false, HF_E_CERTIFICATE_REVOKED, "", ""},
        {"ae-expired", HF_FLAVOUR_AE_ID, false, HF_E_CERTIFICATE_EXPIRED, "", ""},
        {"maf", HF_FLAVOUR_FQDN, false, HF_E_CERTIFICATE_TYPE, "", ""}, /* never a client */
        {"ae", HF_FLAVOUR_CSE_ID, false, HF_E_CERTIFICATE_TYPE, "", ""},
        {"node", HF_FLAVOUR_AE_ID, false, HF_E_CERTIFICATE_TYPE, "", ""},
        {"device", HF_FLAVOUR_NODE_ID, false, HF_E_CERTIFICATE_TYPE, "", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct hf_trust *trust = open_trust(rows[i].flavours, "");
        struct hf_credential *credential = open_credential(rows[i].prefix, false);
        judge(&rows[i], trust, hf_credential_message(credential, false), false);
        hf_credential_close(credential);
        hf_trust_close(trust);
    }
}

static void test_raw_keys(void **state)
{
    static const struct row known = {"raw-ae", 0, false, HF_OK, "//m2msp.example/S1", "30-lab"};
    static const struct row unknown = {"raw-in-cse", 0, false, HF_E_RAW_KEY_UNKNOWN, "", ""};
    static uint8_t name[FILE_MAX];
    char pins[256];
    (void)state;
    struct hf_bytes ni = read_lab_file(name, "raw-ae", ".ni");
    snprintf(pins, sizeof pins, "%.*s //m2msp.example/S1 30-lab\n", (int)ni.len - 1,
             (const char *)ni.data);
    struct hf_trust *trust = open_trust(HF_FLAVOUR_RAW, pins);
    struct hf_credential *ae = open_credential("raw-ae", true);
    struct hf_credential *cse = open_credential("raw-in-cse", true);
    judge(&known, trust, hf_credential_message(ae, true), true);
    judge(&unknown, trust, hf_credential_message(cse, true), true);
    hf_credential_close(ae);
    hf_credential_close(cse);
    hf_trust_close(trust);
}

static int make_lab(void **state)
{
    char lab[64];
    (void)state;
    if (!mkdtemp(place))
        return -1;
    snprintf(lab, sizeof lab, "%s/lab", place);
    return run("/bin/sh", script, handfast, lab);
}

static int remove_lab(void **state)
{
    (void)state;
    return run("/bin/rm", "-rf", "--", place);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_certificates),
        cmocka_unit_test(test_raw_keys),
    };
    if (argc != 3) {
        fprintf(stderr, "usage: chain_lab_test HANDFAST PKI.SH\n");
        return 2;
    }
    handfast = argv[1];
    script = argv[2];
    return cmocka_run_group_tests(tests, make_lab, remove_lab);
}
