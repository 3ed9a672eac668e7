/**
 * chain_matrix_test.c - good and bad chains, a line each: what becomes of them, what the peer is
 * told, and that X509_verify_cert would take whatever we take.
 */
#include "chain_world.h"

#include <handfast/handfast.h>

#include <openssl/x509.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define BOTH "trust.flavours=cse+ae "
#define AE "trust.flavours=ae leaf.san=URI:m2m://sp.example/S1 "
#define NODE "trust.flavours=node leaf.san=URI:urn:gsma:imei:1 "
#define DEVICE "trust.flavours=device leaf.san=DEV:0.2.481.1/100.3030.10011 "
#define HARDWARE "trust.flavours=device leaf.san=HWM:1.3.6.1.4.1.99.1/0a0b "
#define THREE "ca2.by=ca leaf.by=ca2 send=leaf,ca2,ca "

/** A case. `alert` stands here too, beside the map in status.h, so that each is looked at twice. */
struct row {
    const char *line;
    enum hf_status status;
    uint8_t alert;
    bool is_ours_alone; /**< X509_verify_cert cannot judge it: one of the two listed cases */
};

static const struct row good[] = {
    {"", HF_OK, 255, false},
    {"send=leaf,ca,root", HF_OK, 255, false},
    {"leaf.by=root send=leaf", HF_OK, 255, false},
    {"leaf.by=root send=leaf,root", HF_OK, 255, false},
    {THREE, HF_OK, 255, false},
    {THREE "ca.path=1 ca2.path=0 root.path=2", HF_OK, 255, false},
    {"leaf.eku=client", HF_OK, 255, false},
    {"leaf.eku=server peer.is=server", HF_OK, 255, false},
    {"leaf.eku=client+server ca.eku=client+any root.eku=client+server", HF_OK, 255, false},
    {"leaf.ku=ds+ka", HF_OK, 255, false},
    {"leaf.ca=no", HF_OK, 255, false},
    {"ca.ku=none root.ku=none", HF_OK, 255, false},
    {"leaf.akid=none ca.akid=none", HF_OK, 255, false},
    {"leaf.id=none ca.id=none", HF_OK, 255, false},
    {"leaf.akid=serial:1001", HF_OK, 255, false},
    {"leaf.akid=issuer:DIR:CN=x leaf.akid=none", HF_OK, 255, false},
    {"ca.subject=O=SP.example,CN=The__CA leaf.by=ca leaf.issuer=O=sp.example,CN=_the_ca_", HF_OK,
     255, false},
    {"ca.subject=O#sp.example,CN#ca leaf.by=ca leaf.issuer=O=sp.example,CN=ca", HF_OK, 255, false},
    {"leaf.subject=_", HF_OK, 255, false},
    {"leaf.serial=7fffffffffffffffffffffffffffffffffffffff", HF_OK, 255, false},
    {"leaf.to=40000 ca.to=40000 root.to=40000", HF_OK, 255, false},
    {"leaf.from=-20000", HF_OK, 255, false},
    {"now=99.9", HF_OK, 255, false},
    {"leaf.extra=1.3.6.1.4.1.99999.1:0500", HF_OK, 255, false},
    {"leaf.extra=2.5.29.32!:300a3008060667810c010201", HF_OK, 255, false},
    {"leaf.extra=2.5.29.32:301e301c06032a03043015301306082b060105050702011607783a2f2f612f62", HF_OK,
     255, false},
    {"leaf.san=DNS:mn.sp.example,MAIL:a@sp.example,IP:c0000201,DIR:CN=x", HF_OK, 255, false},
    {"leaf.san=DNS:MN.SP.Example", HF_OK, 255, false},
    {"ca.nc=+DNS:sp.example", HF_OK, 255, false},
    {"ca.nc=+DNS:other.example,+DNS:SP.EXAMPLE", HF_OK, 255, false},
    {"ca.nc=+DNS:.sp.example", HF_OK, 255, false},
    {"ca.nc=-DNS:other.example", HF_OK, 255, false},
    {"ca.nc=-DNS:n.sp.example", HF_OK, 255, false},
    {"ca.nc=+URI:ae.example", HF_OK, 255, false},
    {"root.nc=+DNS:sp.example ca.nc=+DNS:mn.sp.example", HF_OK, 255, false},
    {"ca.nc=+DIR:O=x,+DNS:sp.example leaf.subject=_", HF_OK, 255, false},
    {"ca.nc=+DIR:O#SP.example leaf.subject=O=sp.example,CN=x", HF_OK, 255, false},
    {"ca.nc=-DIR:O=sp.example,-DIR:CN=y leaf.subject=O=sp,CN=x", HF_OK, 255, false},
    {"ca.nc=+MAIL:x.example,+IP:c0000200ffffff00", HF_OK, 255, false},
    {"trust.constraints=required ca.nc=+DNS:sp.example", HF_OK, 255, false},
    {"trust.constraints=required root.nc=+DNS:sp.example", HF_OK, 255, false},
    {AE, HF_OK, 255, false},
    {AE "leaf.san=URI:m2m://sp.example/mn/C7", HF_OK, 255, false},
    {AE "ca.nc=+URI:sp.example", HF_OK, 255, false},
    {AE "ca.nc=+URI:.example,-URI:x.example", HF_OK, 255, false},
    {AE "leaf.san=URI://sp.example/S1", HF_OK, 255, false},
    {AE "leaf.san=URI://sp.example/S1 ca.nc=+URI:sp.example", HF_OK, 255, true},
    {NODE, HF_OK, 255, false},
    {NODE "leaf.san=RID:2.25.77", HF_OK, 255, false},
    {DEVICE, HF_OK, 255, false},
    {DEVICE "leaf.san=UTF:0.2.481.1/100.3030.10011", HF_OK, 255, false},
    {DEVICE "ca.nc=+DEV:0.2.481.1/100.3030", HF_OK, 255, true},
    {DEVICE "ca.nc=+DEV:0.2.481.1/100,-DEV:0.2.481.1/100.3031", HF_OK, 255, true},
    {DEVICE "ca.nc=-DEV:0.2.481.2/100", HF_OK, 255, true},
    {DEVICE "leaf.san=UTF:0.2.481.1/100.30 ca.nc=+UTF:0.2.481.1/100", HF_OK, 255, true},
    {HARDWARE, HF_OK, 255, false},
    {HARDWARE "ca.nc=+HWM:1.3.6.1.4.1.99/", HF_OK, 255, true},
    {HARDWARE "ca.nc=+HWM:1.3.6.1.4.1.99.1/0a0b", HF_OK, 255, true},
    {BOTH, HF_OK, 255, false},
    {BOTH "leaf.san=URI:m2m://sp.example/S1", HF_OK, 255, false},
    {"peer.expected=cse://sp.example/mn", HF_OK, 255, false},
    {"peer.expected=cse:mn.sp.example peer.is=server", HF_OK, 255, false},
    {"peer.expected=cse://sp.example/MN", HF_OK, 255, false},
    {"peer.expected=cse://sp.example/mn leaf.san=DNS:a.sp.example,DNS:mn.sp.example", HF_OK, 255,
     false},
    {"peer.is=server trust.flavours=fqdn+cse peer.expected=fqdn:mn.sp.example", HF_OK, 255, false},
    {AE "peer.expected=ae://sp.example/S1", HF_OK, 255, false},
    {NODE "peer.expected=node:urn:gsma:imei:1", HF_OK, 255, false},
    {DEVICE "peer.expected=device:0.2.481.1.100.3030.10011", HF_OK, 255, false},
    {"crl.of=ca crl.of=root", HF_OK, 255, false},
    {"crl.of=ca crl.revokes=11,7a51c0fffe crl.of=root crl.revokes=05 trust.crl=required", HF_OK,
     255, false},
    {"crl.of=ca crl.akid=none crl.of=root", HF_OK, 255, false},
    {"leaf.extra=2.5.29.31:300f300da00ba0098607783a2f2f612f62 crl.of=ca crl.of=root", HF_OK, 255,
     false},
};

static const struct row bad[] = {
    /* the message */
    {"send=none", HF_E_CERTIFICATE_MISSING, 40, false},
    {"trust.len=600", HF_E_CHAIN_LENGTH, 42, false},
    {THREE "trust.depth=2", HF_E_CHAIN_DEPTH, 48, false},
    {"trust.depth=1", HF_E_CHAIN_DEPTH, 48, false},
    /* encoding */
    {"leaf.damage=tail", HF_E_BAD_CERTIFICATE, 42, false},
    {"leaf.damage=short", HF_E_BAD_CERTIFICATE, 42, false},
    {"leaf.damage=tag", HF_E_BAD_CERTIFICATE, 42, false},
    {"leaf.damage=indefinite", HF_E_BAD_CERTIFICATE, 42, false},
    {"leaf.damage=length", HF_E_BAD_CERTIFICATE, 42, false},
    {"leaf.damage=no-validity", HF_E_BAD_CERTIFICATE, 42, false},
    {"leaf.damage=unique-id", HF_E_BAD_CERTIFICATE, 42, false},
    {"ca.damage=tag", HF_E_BAD_CERTIFICATE, 42, false},
    {"leaf.issuer=_", HF_E_BAD_CERTIFICATE, 42, false},
    {"leaf.subject=CN~abcd", HF_E_BAD_CERTIFICATE, 42, false},
    {"leaf.san=X400:", HF_E_BAD_CERTIFICATE, 42, false},
    {"leaf.san=IP:c00002", HF_E_BAD_CERTIFICATE, 42, false},
    {"leaf.san=_", HF_E_BAD_CERTIFICATE, 42, false},
    {"ca.nc=+*DNS:sp.example", HF_E_BAD_CERTIFICATE, 42, false},
    {"leaf.ku=none leaf.extra=2.5.29.15:030207", HF_E_BAD_CERTIFICATE, 42, false},
    {"leaf.extra=2.5.29.19:30030101ff00", HF_E_BAD_CERTIFICATE, 42, false},
    {"leaf.extra=2.5.29.19:3003010100", HF_E_BAD_CERTIFICATE, 42, false},
    {"leaf.ca=no leaf.path=0", HF_E_BAD_CERTIFICATE, 42, false},
    {"leaf.extra=2.5.29.37:3000", HF_E_BAD_CERTIFICATE, 42, false},
    {"leaf.extra=2.5.29.31:300430028100", HF_E_BAD_CERTIFICATE, 42, false},
    {"leaf.extra=2.5.29.32:3014300806062a0304050607300806062a0304050607", HF_E_BAD_CERTIFICATE, 42,
     false},
    {"leaf.extra=2.5.29.32:3017301506032a0304300e300c06082b060105050702023000",
     HF_E_BAD_CERTIFICATE, 42, false},
    /* version, serial number, key, signature */
    {"leaf.version=1", HF_E_CERTIFICATE_VERSION, 43, false},
    {"leaf.version=2", HF_E_CERTIFICATE_VERSION, 43, false},
    {"ca.version=1", HF_E_CERTIFICATE_VERSION, 43, false},
    {"leaf.serial=00", HF_E_CERTIFICATE_SERIAL, 42, false},
    {"leaf.serial=ff", HF_E_CERTIFICATE_SERIAL, 42, false},
    {"leaf.serial=0102030405060708090a0b0c0d0e0f101112131415", HF_E_CERTIFICATE_SERIAL, 42, false},
    {"leaf.serial=0001", HF_E_BAD_CERTIFICATE, 42, false},
    {"leaf.key=rsa", HF_E_CERTIFICATE_KEY, 43, false},
    {"leaf.key=p384", HF_E_CERTIFICATE_CURVE, 43, false},
    {"ca.key=p384", HF_E_CERTIFICATE_CURVE, 43, false},
    {"leaf.key=explicit", HF_E_CERTIFICATE_CURVE, 43, false},
    {"leaf.key=compressed", HF_E_CERTIFICATE_POINT_FORMAT, 43, false},
    {"leaf.key=hybrid", HF_E_CERTIFICATE_POINT_FORMAT, 43, false},
    {"ca.key=compressed", HF_E_CERTIFICATE_POINT_FORMAT, 43, false},
    {"leaf.key=offcurve", HF_E_CERTIFICATE_POINT, 42, false},
    {"leaf.key=short", HF_E_CERTIFICATE_POINT, 42, false},
    {"leaf.hash=sha1", HF_E_CERTIFICATE_ALGORITHM, 43, false},
    {"ca.hash=sha1", HF_E_CERTIFICATE_ALGORITHM, 43, false},
    {"leaf.hash=sha384", HF_E_CERTIFICATE_ALGORITHM, 43, false},
    {"leaf.signer=rsa", HF_E_CERTIFICATE_ALGORITHM, 43, false},
    {"leaf.damage=outer-algorithm", HF_E_CERTIFICATE_ALGORITHM, 43, false},
    {"leaf.signer=root", HF_E_CHAIN_SIGNATURE, 42, false},
    {"ca.signer=leaf", HF_E_CHAIN_SIGNATURE, 42, false},
    {"ca.key=offcurve", HF_E_CHAIN_SIGNATURE, 42, false},
    /* time */
    {"leaf.to=0", HF_E_CERTIFICATE_EXPIRED, 45, false},
    {"leaf.to=-1", HF_E_CERTIFICATE_EXPIRED, 45, false},
    {"ca.to=-1", HF_E_CERTIFICATE_EXPIRED, 45, false},
    {"root.to=-1", HF_E_CERTIFICATE_EXPIRED, 45, false},
    {"now=100", HF_E_CERTIFICATE_EXPIRED, 45, false},
    {"leaf.from=1", HF_E_CERTIFICATE_NOT_YET_VALID, 45, false},
    {"ca.from=1", HF_E_CERTIFICATE_NOT_YET_VALID, 45, false},
    {"now=-101", HF_E_CERTIFICATE_NOT_YET_VALID, 45, false},
    /* the path */
    {"send=leaf", HF_E_CERTIFICATE_UNKNOWN_CA, 48, false},
    {"anchors=ca2 ca2.by=ca2 send=leaf,ca,root", HF_E_CERTIFICATE_UNKNOWN_CA, 48, false},
    {"anchors=ca2 ca2.by=ca2 send=leaf,ca", HF_E_CERTIFICATE_UNKNOWN_CA, 48, false},
    {"ca.akid=other", HF_E_CERTIFICATE_UNKNOWN_CA, 48, false},
    {"leaf.by=leaf send=leaf", HF_E_CERTIFICATE_SELF_SIGNED, 48, false},
    {"leaf.by=leaf send=leaf,ca,root", HF_E_CERTIFICATE_SELF_SIGNED, 48, false},
    {"anchors=root,leaf leaf.by=leaf leaf.ca=yes leaf.ku=ds+kcs send=leaf",
     HF_E_CERTIFICATE_SELF_SIGNED, 48, false},
    {"leaf.by=ca2 send=leaf,ca", HF_E_CHAIN_BROKEN, 42, false},
    {"send=leaf,root,ca", HF_E_CHAIN_BROKEN, 42, false},
    {"ca2.by=root send=leaf,ca,ca2", HF_E_CHAIN_BROKEN, 42, false},
    {"send=leaf,ca,root,root", HF_E_CHAIN_BROKEN, 42, false},
    {"leaf.by=root send=leaf,ca", HF_E_CHAIN_BROKEN, 42, false},
    {"leaf.akid=other", HF_E_CHAIN_BROKEN, 42, false},
    {"leaf.akid=serial:1002", HF_E_CHAIN_BROKEN, 42, false},
    {"leaf.akid=issuer:DIR:CN=x", HF_E_CHAIN_BROKEN, 42, false},
    {"ca.ca=no", HF_E_CERTIFICATE_NOT_CA, 48, false},
    {"ca.ca=none", HF_E_CERTIFICATE_NOT_CA, 48, false},
    {THREE "ca2.ca=no", HF_E_CERTIFICATE_NOT_CA, 48, false},
    {"ca.ku=ds", HF_E_CERTIFICATE_ISSUER_USAGE, 48, false},
    {THREE "ca.path=0", HF_E_CERTIFICATE_PATH_LENGTH, 48, false},
    {THREE "root.path=1", HF_E_CERTIFICATE_PATH_LENGTH, 48, false},
    {"root.path=0", HF_E_CERTIFICATE_PATH_LENGTH, 48, false},
    /* what a certificate is for */
    {"leaf.ca=yes", HF_E_CERTIFICATE_IS_CA, 43, false},
    {"leaf.ku=none", HF_E_CERTIFICATE_KEY_USAGE, 43, false},
    {"leaf.ku=ka", HF_E_CERTIFICATE_KEY_USAGE, 43, false},
    {"leaf.ku=zero", HF_E_CERTIFICATE_KEY_USAGE, 43, false},
    {"leaf.eku=code", HF_E_CERTIFICATE_EXTENDED_KEY_USAGE, 43, false},
    {"leaf.eku=server", HF_E_CERTIFICATE_EXTENDED_KEY_USAGE, 43, false},
    {"leaf.eku=client peer.is=server", HF_E_CERTIFICATE_EXTENDED_KEY_USAGE, 43, false},
    {"leaf.eku=any", HF_E_CERTIFICATE_EXTENDED_KEY_USAGE, 43, false},
    {"ca.eku=server", HF_E_CERTIFICATE_EXTENDED_KEY_USAGE, 43, false},
    {"root.eku=code", HF_E_CERTIFICATE_EXTENDED_KEY_USAGE, 43, false},
    /* extensions */
    {"leaf.extra==KU", HF_E_CERTIFICATE_DUPLICATE_EXTENSION, 42, false},
    {"leaf.extra==SAN", HF_E_CERTIFICATE_DUPLICATE_EXTENSION, 42, false},
    {"leaf.extra=1.3.6.1.4.1.99999.1,1.3.6.1.4.1.99999.1", HF_E_CERTIFICATE_DUPLICATE_EXTENSION, 42,
     false},
    {"leaf.extra=1.3.6.1.4.1.99999.1!:0500", HF_E_CERTIFICATE_CRITICAL_EXTENSION, 43, false},
    {"ca.extra=1.3.6.1.4.1.99999.1!:0500", HF_E_CERTIFICATE_CRITICAL_EXTENSION, 43, false},
    {"ca.extra=2.5.29.36:3003800100", HF_E_CERTIFICATE_CRITICAL_EXTENSION, 43, false},
    {"leaf.extra=2.16.840.1.113730.1.1:03020520", HF_E_CERTIFICATE_CRITICAL_EXTENSION, 43, false},
    {"leaf.extra=1.3.6.1.5.5.7.1.14!:3000", HF_E_CERTIFICATE_CRITICAL_EXTENSION, 43, false},
    /* name constraints */
    {"ca.nc=+DNS:other.example", HF_E_CERTIFICATE_CONSTRAINT, 46, false},
    {"root.nc=+DNS:other.example", HF_E_CERTIFICATE_CONSTRAINT, 46, false},
    {"ca.nc=-DNS:sp.example", HF_E_CERTIFICATE_CONSTRAINT, 46, false},
    {"ca.nc=-DNS:_", HF_E_CERTIFICATE_CONSTRAINT, 46, false},
    {"ca.nc=+DNS:n.sp.example", HF_E_CERTIFICATE_CONSTRAINT, 46, false},
    {"ca.nc=+DNS:.mn.sp.example", HF_E_CERTIFICATE_CONSTRAINT, 46, false},
    {"ca.nc=+DIR:O=other leaf.subject=O=sp,CN=x", HF_E_CERTIFICATE_CONSTRAINT, 46, false},
    {"ca.nc=-DIR:O#SP.example leaf.subject=O=sp.example,CN=x", HF_E_CERTIFICATE_CONSTRAINT, 46,
     false},
    {"root.nc=-DIR:O=sp.example", HF_E_CERTIFICATE_CONSTRAINT, 46, false},
    {AE "ca.nc=+URI:other.example", HF_E_CERTIFICATE_CONSTRAINT, 46, false},
    {AE "ca.nc=+URI:.sp.example", HF_E_CERTIFICATE_CONSTRAINT, 46, false},
    {AE "ca.nc=-URI:sp.example", HF_E_CERTIFICATE_CONSTRAINT, 46, false},
    {AE "leaf.san=URI://sp.example/S1 ca.nc=+URI:other.example", HF_E_CERTIFICATE_CONSTRAINT, 46,
     false},
    {DEVICE "ca.nc=+DEV:0.2.481.1/101", HF_E_CERTIFICATE_CONSTRAINT, 46, false},
    {DEVICE "ca.nc=+DEV:0.2.481.2/100", HF_E_CERTIFICATE_CONSTRAINT, 46, false},
    {DEVICE "ca.nc=-DEV:0.2.481.1/100.3030", HF_E_CERTIFICATE_CONSTRAINT, 46, false},
    {DEVICE "leaf.san=UTF:0.2.481.1/1003 ca.nc=+UTF:0.2.481.1/100", HF_E_CERTIFICATE_CONSTRAINT, 46,
     false},
    {HARDWARE "ca.nc=+HWM:1.3.6.1.4.1.98/", HF_E_CERTIFICATE_CONSTRAINT, 46, false},
    {HARDWARE "ca.nc=+HWM:1.3.6.1.4.1.99.1/0a0c", HF_E_CERTIFICATE_CONSTRAINT, 46, false},
    {NODE "ca.nc=+URI:sp.example", HF_E_CERTIFICATE_CONSTRAINT_UNKNOWN, 43, false},
    {NODE "leaf.san=RID:2.25.77 ca.nc=+RID:2.25", HF_E_CERTIFICATE_CONSTRAINT_UNKNOWN, 43, false},
    {"leaf.san=DNS:mn.sp.example,IP:c0000201 ca.nc=+IP:c0000200ffffff00",
     HF_E_CERTIFICATE_CONSTRAINT_UNKNOWN, 43, false},
    {"leaf.san=DNS:mn.sp.example,MAIL:a@sp.example ca.nc=+MAIL:sp.example",
     HF_E_CERTIFICATE_CONSTRAINT_UNKNOWN, 43, false},
    {"leaf.subject=E=a@sp.example ca.nc=+DNS:sp.example", HF_E_CERTIFICATE_CONSTRAINT_UNKNOWN, 43,
     false},
    {AE "leaf.san=URI:m2m://sp.example:80/S1 ca.nc=+URI:sp.example",
     HF_E_CERTIFICATE_CONSTRAINT_UNKNOWN, 43, false},
    {AE "leaf.san=URI:m2m://x@sp.example/S1 ca.nc=+URI:sp.example",
     HF_E_CERTIFICATE_CONSTRAINT_UNKNOWN, 43, false},
    {DEVICE "ca.nc=+UTF:0.2.481.1/100", HF_E_CERTIFICATE_CONSTRAINT_UNKNOWN, 43, false},
    {"ca.nc=+DNS:sp.example.", HF_E_CERTIFICATE_CONSTRAINT_UNKNOWN, 43, false},
    {"trust.constraints=required", HF_E_CERTIFICATE_CONSTRAINT_MISSING, 46, false},
    {AE "trust.constraints=required", HF_E_CERTIFICATE_CONSTRAINT_MISSING, 46, false},
    /* who it is */
    {AE "leaf.san=DNS:mn.sp.example", HF_E_CERTIFICATE_TYPE, 43, false},
    {"leaf.san=URI:m2m://sp.example/S1", HF_E_CERTIFICATE_TYPE, 43, false},
    {"leaf.san=DEV:0.2.481.1/100", HF_E_CERTIFICATE_TYPE, 43, false},
    {"trust.flavours=raw+fqdn", HF_E_CERTIFICATE_TYPE, 43, false},
    {"trust.flavours=fqdn", HF_E_CERTIFICATE_TYPE, 43, false},
    {"trust.flavours=cse peer.expected=fqdn:mn.sp.example", HF_E_CERTIFICATE_TYPE, 43, false},
    {NODE "leaf.san=URI:m2m://sp.example/S1", HF_E_CERTIFICATE_TYPE, 43, false},
    {"leaf.san=none", HF_E_CERTIFICATE_IDENTITY, 42, false},
    {"leaf.san=none leaf.subject=CN=mn.sp.example", HF_E_CERTIFICATE_IDENTITY, 42, false},
    {"leaf.san=MAIL:a@sp.example", HF_E_CERTIFICATE_IDENTITY, 42, false},
    {"leaf.san=DNS:localhost", HF_E_CERTIFICATE_IDENTITY, 42, false},
    {"leaf.san=DNS:mn.sp.example.", HF_E_CERTIFICATE_IDENTITY, 42, false},
    {"leaf.san=DNS:192.0.2.1", HF_E_CERTIFICATE_IDENTITY, 42, false},
    {"leaf.san=DNS:m-.sp.example", HF_E_CERTIFICATE_IDENTITY, 42, false},
    {AE "leaf.san=URI:m2m://sp.example/mn", HF_E_CERTIFICATE_IDENTITY, 42, false},
    {AE "leaf.san=URI:m2m://sp.example/S1?x", HF_E_CERTIFICATE_IDENTITY, 42, false},
    {AE "leaf.san=URI:m2m://sp.example/S%31", HF_E_CERTIFICATE_IDENTITY, 42, false},
    {HARDWARE "leaf.san=HWM:1.3.6.1.4.1.99.1/", HF_E_CERTIFICATE_IDENTITY, 42, false},
    {"leaf.san=DNS:mn.sp.example,DNS:mo.sp.example", HF_E_CERTIFICATE_AMBIGUOUS, 42, false},
    {BOTH "leaf.san=DNS:mn.sp.example,URI:m2m://sp.example/S1", HF_E_CERTIFICATE_AMBIGUOUS, 42,
     false},
    {"trust.flavours=cse+fqdn peer.is=server", HF_E_CERTIFICATE_AMBIGUOUS, 42, false},
    {"leaf.san=DNS:*.sp.example", HF_E_CERTIFICATE_WILDCARD, 42, false},
    {"leaf.san=DNS:mn.sp.example,DNS:*.sp.example", HF_E_CERTIFICATE_WILDCARD, 42, false},
    {AE "leaf.san=URI:m2m://sp.example/S*", HF_E_CERTIFICATE_WILDCARD, 42, false},
    {"peer.expected=cse://sp.example/mo", HF_E_PEER_NAME, 42, false},
    {"peer.expected=cse:mo.sp.example", HF_E_PEER_NAME, 42, false},
    {"peer.expected=cse:", HF_E_PEER_NAME, 42, false},
    {AE "peer.expected=ae://sp.example/s1", HF_E_PEER_NAME, 42, false},
    {NODE "peer.expected=node:urn:gsma:imei:2", HF_E_PEER_NAME, 42, false},
    {DEVICE "peer.expected=device:0.2.481.1.100.3030", HF_E_PEER_NAME, 42, false},
    /* revocation */
    {"crl.of=ca crl.revokes=leaf crl.of=root", HF_E_CERTIFICATE_REVOKED, 44, false},
    {"crl.of=ca crl.of=root crl.revokes=05,ca,06", HF_E_CERTIFICATE_REVOKED, 44, false},
    {"crl.of=ca crl.revokes=leaf crl.to=-1 trust.expired=warn", HF_E_CERTIFICATE_REVOKED, 44,
     false},
    {"crl.of=ca crl.to=0 crl.of=root trust.expired=refuse", HF_E_CRL_EXPIRED, 46, false},
    {"crl.of=ca crl.of=root crl.to=0 trust.expired=refuse", HF_E_CRL_EXPIRED, 46, false},
    {"crl.of=ca crl.from=1 crl.to=2 crl.of=root", HF_E_CRL_NOT_YET_VALID, 46, false},
    {"trust.crl=required", HF_E_CRL_MISSING, 46, false},
    {"trust.crl=required crl.of=ca", HF_E_CRL_MISSING, 46, false},
    {"trust.crl=required crl.of=root crl.of=ca crl.akid=other", HF_E_CRL_MISSING, 46, false},
    {"ca.ku=kcs crl.of=ca crl.of=root", HF_E_CERTIFICATE_ISSUER_USAGE, 48, false},
    {"crl.of=ca crl.signer=root crl.of=root", HF_E_CHAIN_SIGNATURE, 42, false},
};

static struct chain_world world;

static void check(const struct row *row)
{
    struct hf_peer_identity peer;
    static const struct hf_peer_identity nobody;
    const char *why = "";
    int error;
    chain_world_make(&world, row->line);
    struct hf_trust *trust = chain_world_trust(&world, &why);
    if (!trust)
        fail_msg("[%s] trust: %s", row->line, why);
    enum hf_status status = chain_world_walk(&peer, &world, trust);
    if (status != row->status)
        fail_msg("[%s] is %s, not %s", row->line, hf_status_reason(status),
                 hf_status_reason(row->status));
    if (hf_status_alert(status) != row->alert)
        fail_msg("[%s] tells the peer %d, not %d", row->line, hf_status_alert(status), row->alert);
    if (status != HF_OK)
        assert_memory_equal(&peer, &nobody, sizeof peer);
    bool is_taken = chain_world_oracle(&error, &world);
    if (status == HF_OK && (!is_taken || (error != X509_V_OK) != row->is_ours_alone))
        fail_msg("[%s] X509_verify_cert says %s", row->line, X509_verify_cert_error_string(error));
    hf_trust_close(trust);
}

static void test_good_chains(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        check(&good[i]);
}

static void test_bad_chains(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        check(&bad[i]);
    print_message("%zu good and %zu bad chains\n", sizeof good / sizeof good[0],
                  sizeof bad / sizeof bad[0]);
}

/* Does every status of a certificate have its case? */
static void test_every_status_occurs(void **state)
{
    static const enum hf_status elsewhere[] = {HF_E_RAW_KEY_UNKNOWN};
    (void)state;
    for (int status = HF_E_BAD_CERTIFICATE; status <= HF_E_CHAIN_SIGNATURE; status++) {
        bool is_found = status == (int)elsewhere[0];
        for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
            is_found |= bad[i].status == (enum hf_status)status;
        if (!is_found)
            fail_msg("no chain gives %s", hf_status_reason((enum hf_status)status));
    }
}

/** What a peer turns out to be. */
struct identity_row {
    const char *line;
    enum hf_entity_kind kind;
    const char *entity_id;
    const char *credential_id;
};

static void test_identities(void **state)
{
    static const struct identity_row rows[] = {
        {"", HF_ENTITY_CSE, "//sp.example/mn", "32-mn.sp.example"},
        {"leaf.san=DNS:MN.Sp.Example", HF_ENTITY_CSE, "//sp.example/mn", "32-mn.sp.example"},
        {"leaf.san=DNS:mn.in.sp.example", HF_ENTITY_CSE, "//in.sp.example/mn",
         "32-mn.in.sp.example"},
        {"leaf.san=DNS:mn.in.sp.example trust.names=//sp.example/in-cse@IN.sp.example",
         HF_ENTITY_CSE, "//sp.example/mn", "32-mn.in.sp.example"},
        {"trust.names=//sp.example/Other@mn.sp.example", HF_ENTITY_CSE, "//sp.example/Other",
         "32-mn.sp.example"},
        {"peer.expected=cse://sp.example/MN", HF_ENTITY_CSE, "//sp.example/MN", "32-mn.sp.example"},
        {AE, HF_ENTITY_AE, "//sp.example/S1", "33-//sp.example/S1"},
        {NODE, HF_ENTITY_PENDING, "", "34-urn:gsma:imei:1"},
        {NODE "leaf.san=RID:2.25.77", HF_ENTITY_PENDING, "", "34-2.25.77"},
        {DEVICE, HF_ENTITY_PENDING, "", "31-0.2.481.1.100.3030.10011"},
        {DEVICE "leaf.san=UTF:1.2.3/7", HF_ENTITY_PENDING, "", "31-1.2.3.7"},
        {HARDWARE, HF_ENTITY_PENDING, "", "31-1.3.6.1.4.1.99.1-0a0b"},
        {"peer.is=server trust.flavours=fqdn leaf.san=DNS:maf.example", HF_ENTITY_PENDING,
         "maf.example", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct hf_peer_identity peer;
        const char *why;
        chain_world_make(&world, rows[i].line);
        struct hf_trust *trust = chain_world_trust(&world, &why);
        assert_non_null(trust);
        assert_int_equal(chain_world_walk(&peer, &world, trust), HF_OK);
        assert_int_equal(peer.entity_kind, rows[i].kind);
        assert_int_equal(peer.entity_id_len, strlen(rows[i].entity_id));
        assert_memory_equal(peer.entity_id, rows[i].entity_id, peer.entity_id_len);
        assert_int_equal(peer.credential_id_len, strlen(rows[i].credential_id));
        assert_memory_equal(peer.credential_id, rows[i].credential_id, peer.credential_id_len);
        hf_trust_close(trust);
    }
}

static int make_keys(void **state)
{
    (void)state;
    chain_world_keys();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_chains),
        cmocka_unit_test(test_bad_chains),
        cmocka_unit_test(test_every_status_occurs),
        cmocka_unit_test(test_identities),
    };
    return cmocka_run_group_tests(tests, make_keys, NULL);
}
