#!/bin/sh
# pki.sh HANDFAST DIR - the lab's public key infrastructure for tests, made by `handfast pki`: one
# good credential of each kind and the authorities behind them. What is where: docs/LAB-PKI.md.
# DIR must not exist; it is made. Files hold private keys: DIR has mode 0700.
set -eu
[ $# -eq 2 ] || { echo "usage: pki.sh HANDFAST DIR" >&2; exit 2; }
pki() { "$handfast" pki "$@" >/dev/null; }
handfast=$1
umask 077
mkdir "$2"
cd "$2"

# One provider: what an IN-CSE and its CSEs, AEs, MAF and MEF show. Its authority has an
# intermediate one, as TS-0003 10.1.1.3 expects.
pki ca root --name "m2msp.example root" --permit-sp m2msp.example
pki ca sp --issuer root --name "m2msp.example" --path-length 0
pki cse-id in-cse //m2msp.example/in-cse --issuer sp
pki cse-id mn-cse //m2msp.example/mn-cse --in-cse in-cse --issuer sp
pki ae-id ae //m2msp.example/S42 --issuer sp
pki ae-id ae-behind-cse //m2msp.example/in-cse/C42 --issuer sp
pki fqdn maf maf.m2msp.example --issuer sp
pki fqdn mef mef.m2msp.example --issuer sp
pki ae-id ae-revoked //m2msp.example/S43 --issuer sp
pki ae-id ae-expired //m2msp.example/S44 --issuer sp --not-before 2020-01-01 --days 30
pki crl root
pki revoke sp ae-revoked.pem --reason keyCompromise

# Another provider's, joined over Mcc'.
pki ca other-root --name "other.example root" --permit-sp other.example
pki cse-id other-in-cse //other.example/in-cse --issuer other-root
pki crl other-root

# Makers of nodes and devices: no domain of theirs is a CSE's. Only we judge otherName constraints:
# `devices` is for our own ends, `devices-open` for those whose peer is GnuTLS or OpenSSL.
pki ca nodes --name "Nodes" --permit-dns nodes.example
pki node-id node urn:gsma:imei:90420156-025763-0 --issuer nodes
pki ca devices --name "Devices" --permit-dns devices.example --permit-device 0.2.481.1.100
pki device device 0.2.481.1.100.3030.10011 --issuer devices
pki ca devices-open --name "Devices, open" --permit-dns devices.example
pki device device-open 0.2.481.1.100.3030.10012 --issuer devices-open
for authority in nodes devices devices-open; do pki crl "$authority"; done

# Raw public keys of both ends; .ni: the name another is configured with.
for end in raw-in-cse raw-ae; do
    pki raw-key "$end"
    "$handfast" pki digest "$end.pub" | head -n 1 >"$end.ni"
done

# What one listener trusts, whatever comes.
cat root.pem nodes.pem devices.pem devices-open.pem other-root.pem >anchors.pem
cat root.crl sp.crl nodes.crl devices.crl devices-open.crl other-root.crl >all.crl
