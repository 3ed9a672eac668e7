/**
 * persons.c - see persons.h. Keys and certificates made once, for this and nothing else, valid from
 * November 2026 to October 2048.
 */
#include "persons.h"

#include "fuzz.h"

static const char ca_pem[] = "-----BEGIN CERTIFICATE-----\n"
                             "MIIBSjCB8aADAgECAgEBMAoGCCqGSM49BAMCMA0xCzAJBgNVBAMMAmNhMB4XDTI2\n"
                             "MTEyMjEwNDk0N1oXDTQ4MTAxNzEwNDk0N1owDTELMAkGA1UEAwwCY2EwWTATBgcq\n"
                             "hkjOPQIBBggqhkjOPQMBBwNCAAQQyfHcQxYMQ68sc41AxpaLIPbJmti7ZizrAawi\n"
                             "d8cV283aE/Bqsizy9ubkacWnCRswb2rDTnir1v0Sqgz//x8Io0IwQDAPBgNVHRMB\n"
                             "Af8EBTADAQH/MA4GA1UdDwEB/wQEAwICBDAdBgNVHQ4EFgQUKQoMNnBDjjf2Wz4Y\n"
                             "3v3iJ1bBrpYwCgYIKoZIzj0EAwIDSAAwRQIgePwPyt2hJNfkzFSx1ulTco6/+T2d\n"
                             "58eoF+2d25CXoUcCIQCKa/BbfneTBJpYqzhTWdNWJ+rztbpaQY7+hsY+9o4URw==\n"
                             "-----END CERTIFICATE-----\n";

static const char server_pem[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBfDCCASKgAwIBAgIBPDAKBggqhkjOPQQDAjANMQswCQYDVQQDDAJjYTAeFw0y\n"
    "NjExMjIxMDQ5NDdaFw00ODEwMTcxMDQ5NDdaMBExDzANBgNVBAMMBnNlcnZlcjBZ\n"
    "MBMGByqGSM49AgEGCCqGSM49AwEHA0IABMr7fGeAR3KKZHIebJAFZtPkWKDcaFe9\n"
    "LGH5SHzBVwKY0f7jsyHYFppQX5xgnpZlsW1UOC78fbTvKzN0fjA8gJ2jbzBtMA4G\n"
    "A1UdDwEB/wQEAwIHgDAbBgNVHREEFDASghBpbi1jc2UuYi5leGFtcGxlMB0GA1Ud\n"
    "DgQWBBSvv7hQI505HnJ1QKezeQZvx7MvuzAfBgNVHSMEGDAWgBQpCgw2cEOON/Zb\n"
    "Phje/eInVsGuljAKBggqhkjOPQQDAgNIADBFAiAQV73Gyk7FuSGuONeqKps5KGvl\n"
    "uyLIiOYLR2gNy38nawIhAI0dGsXvWMr7VaLNtxmyUIv44XOj2/HaC0YSzjOs0SeE\n"
    "-----END CERTIFICATE-----\n";

static const char server_key[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgsEVuOphJv9QnBRn6\n"
    "Df1JdjV/hMyWYIJzUjXGQdfNnu+hRANCAATK+3xngEdyimRyHmyQBWbT5Fig3GhX\n"
    "vSxh+Uh8wVcCmNH+47Mh2BaaUF+cYJ6WZbFtVDgu/H207yszdH4wPICd\n"
    "-----END PRIVATE KEY-----\n";

static const char second_pem[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBfDCCASKgAwIBAgIBODAKBggqhkjOPQQDAjANMQswCQYDVQQDDAJjYTAeFw0y\n"
    "NjExMjIxMDQ5NDdaFw00ODEwMTcxMDQ5NDdaMBExDzANBgNVBAMMBnNlY29uZDBZ\n"
    "MBMGByqGSM49AgEGCCqGSM49AwEHA0IABLyXAR8ev3T9qWwhqm8XycFd7fUYkbZP\n"
    "a6W7LjxC0edf4pbGDK1RwPZysq0O9j1vKsJaOqjJB6vfYhcdH5gpiByjbzBtMA4G\n"
    "A1UdDwEB/wQEAwIHgDAbBgNVHREEFDASghBpbi1jc2UuZC5leGFtcGxlMB0GA1Ud\n"
    "DgQWBBSQnFI9xvFalOkRa08jsPwWdkf+GjAfBgNVHSMEGDAWgBQpCgw2cEOON/Zb\n"
    "Phje/eInVsGuljAKBggqhkjOPQQDAgNIADBFAiBohn2oGkc4rn9FtwVk0Ffmz1tD\n"
    "5XAjzbqeOKQ5xJ/tzwIhANvbZ7zWvs7hSHAvgk36PONNNMMXJ2htx3Xmn1Rs/Z4B\n"
    "-----END CERTIFICATE-----\n";

static const char second_key[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg/sdhvJA2dqBJqb5j\n"
    "2cWHYex/BjuSQBwkJ1+RbgWsKD2hRANCAAS8lwEfHr90/alsIapvF8nBXe31GJG2\n"
    "T2uluy48QtHnX+KWxgytUcD2crKtDvY9byrCWjqoyQer32IXHR+YKYgc\n"
    "-----END PRIVATE KEY-----\n";

static const char client_pem[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBfDCCASKgAwIBAgIBLjAKBggqhkjOPQQDAjANMQswCQYDVQQDDAJjYTAeFw0y\n"
    "NjExMjIxMDQ5NDdaFw00ODEwMTcxMDQ5NDdaMBExDzANBgNVBAMMBmNsaWVudDBZ\n"
    "MBMGByqGSM49AgEGCCqGSM49AwEHA0IABLP8mCXBIHsYABC4e6tAjUTU1OtBWFfD\n"
    "lETHrbevCqI/3o/eTv5E6cd6aL51t2Dg2613OKYZF6br+VsiMRDjPQmjbzBtMA4G\n"
    "A1UdDwEB/wQEAwIHgDAbBgNVHREEFDASghBpbi1jc2UuYS5leGFtcGxlMB0GA1Ud\n"
    "DgQWBBSCbHslaTE/NguwagrcDwSYYDA8wzAfBgNVHSMEGDAWgBQpCgw2cEOON/Zb\n"
    "Phje/eInVsGuljAKBggqhkjOPQQDAgNIADBFAiANXSIFsiug1XUJbr3CktmnsgsY\n"
    "hg1Z/5QoLRVT29GmtgIhAIcX9zqtN5Nln/PFY5zuh9dDxKGt5hkJe4nb0B2H35Z1\n"
    "-----END CERTIFICATE-----\n";

static const char client_key[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgVo6JwhC+GkieZtkx\n"
    "zCdssUEzNiotUFeeeOyBAdWUoiyhRANCAASz/JglwSB7GAAQuHurQI1E1NTrQVhX\n"
    "w5REx623rwqiP96P3k7+ROnHemi+dbdg4NutdzimGRem6/lbIjEQ4z0J\n"
    "-----END PRIVATE KEY-----\n";

static const char stranger_pem[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBZDCCAQmgAwIBAgIBCTAKBggqhkjOPQQDAjATMREwDwYDVQQDDAhzdHJhbmdl\n"
    "cjAeFw0yNjExMjIxMDQ5NDdaFw00ODEwMTcxMDQ5NDdaMBMxETAPBgNVBAMMCHN0\n"
    "cmFuZ2VyMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEW4s/ljWaRdppPFnCo6BO\n"
    "CN5ZUvV9Nb1UM3uSi95LsGC03SMfLFwGCzHGd8Jy8vBY87eMJnoU5ODsqgnrlI33\n"
    "mKNOMEwwDgYDVR0PAQH/BAQDAgeAMBsGA1UdEQQUMBKCEGluLWNzZS5jLmV4YW1w\n"
    "bGUwHQYDVR0OBBYEFEiC/NssT0jynauV62q9xMFN9+6HMAoGCCqGSM49BAMCA0kA\n"
    "MEYCIQDUkZWsVG7YQ+xS9p5xE/AtP3nvDjbU5njWUMdGLI+DnQIhALw8gfLuBeRu\n"
    "KFRuUolDAYJpxAc/tADQ4rkQq29N5mxI\n"
    "-----END CERTIFICATE-----\n";

static const char stranger_key[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgXwbfbHWmMvDRWw8i\n"
    "IoWiPOdsCy0m2aA1KwoH8k6BGMmhRANCAARbiz+WNZpF2mk8WcKjoE4I3llS9X01\n"
    "vVQze5KL3kuwYLTdIx8sXAYLMcZ3wnLy8Fjzt4wmehTk4OyqCeuUjfeY\n"
    "-----END PRIVATE KEY-----\n";

static const char pins[] =
    "sha-256;w6KSBMbg99zhZzSpQobcDakwzPZVDR5fL5zKdETmCCw " FUZZ_SERVER_CSE_ID "\n"
    "sha-256;Ka7g6MVir9DuppGLspw8VOrpu6viynKkWDaW4jSLUHE " FUZZ_SECOND_CSE_ID "\n"
    "sha-256;2IK3WTNaLeKD8wKe6XInDxxNZ5XL8aJ91k7AQEmBpgI " FUZZ_CLIENT_CSE_ID "\n";

static struct hf_bytes text_of(const char *text)
{
    return (struct hf_bytes){(const uint8_t *)text, strlen(text)};
}

static struct hf_credential *open_credential(const char *chain, const char *key)
{
    struct hf_credential *credential = NULL;
    const char *why = NULL;
    const struct hf_credential_source source = {.chain_pem = text_of(chain),
                                                .key_pem = text_of(key)};
    FUZZ_CHECK(hf_credential_open(&credential, &why, &source) == HF_OK);
    return credential;
}

static struct hf_trust *open_trust(uint8_t flavours)
{
    struct hf_trust *trust = NULL;
    struct hf_trust_source source;
    const char *why = NULL;
    hf_trust_source_init(&source);
    source.flavours = flavours;
    source.anchors_pem = text_of(flavours & HF_FLAVOUR_CSE_ID ? ca_pem : "");
    source.raw_keys = text_of(flavours & HF_FLAVOUR_RAW ? pins : "");
    FUZZ_CHECK(hf_trust_open(&trust, &why, &source) == HF_OK);
    return trust;
}

const struct fuzz_persons *fuzz_persons(void)
{
    static struct fuzz_persons made;
    if (made.trust)
        return &made;
    made.server = open_credential(server_pem, server_key);
    made.second = open_credential(second_pem, second_key);
    made.client = open_credential(client_pem, client_key);
    made.stranger = open_credential(stranger_pem, stranger_key);
    made.x509_only = open_trust(HF_FLAVOUR_CSE_ID);
    made.raw_only = open_trust(HF_FLAVOUR_RAW);
    made.trust = open_trust(HF_FLAVOUR_CSE_ID | HF_FLAVOUR_RAW);
    return &made;
}

struct hf_bytes fuzz_persons_pem(enum fuzz_person person, bool is_key)
{
    static const char *const chains[] = {server_pem, second_pem, client_pem, stranger_pem, ca_pem};
    static const char *const keys[] = {server_key, second_key, client_key, stranger_key, ""};
    return text_of(is_key ? keys[person] : chains[person]);
}
