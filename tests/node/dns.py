#!/usr/bin/env python3
"""The node's DNS server: answers A queries for SERVICE.NAMESPACE.svc[.cluster.local] with the Service's address. Other
names do not exist.

usage: dns.py ADDRESS, with KUBECONFIG set. It answers one query at a time and caches an address for two seconds.
"""

import ipaddress
import socket
import struct
import subprocess
import sys
import time

KEPT = 2.0  # seconds
A = 1
known = {}


def main():
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((sys.argv[1], 53))
    print("listening", flush=True)
    while True:
        packet, client = server.recvfrom(512)
        try:
            server.sendto(answer(packet), client)
        except (IndexError, struct.error, UnicodeDecodeError) as error:
            print("not a DNS query:", error, flush=True)


def answer(packet):
    number, flags = struct.unpack_from(">HH", packet)
    labels, at = [], 12
    while packet[at]:
        labels.append(packet[at + 1 : at + 1 + packet[at]].decode("ascii").lower())
        at += 1 + packet[at]
    question = packet[12 : at + 5]
    (kind,) = struct.unpack_from(">H", packet, at + 1)
    address = lookup(labels)
    # An existing name without records of the queried type is not an error.
    data = ipaddress.IPv4Address(address).packed if address and kind == A else b""
    # A pointer to the name in the question, type A, class IN, TTL 2 s, 4 bytes.
    records = struct.pack(">HHHIH", 0xC00C, A, 1, 2, 4) + data if data else b""
    # Flags: response, authoritative, and the query's RD bit. Status 3: no such name.
    head = struct.pack(">HHHHHH", number, 0x8400 | flags & 0x0100 | (0 if address else 3), 1, bool(data), 0, 0)
    return head + question + records


def lookup(labels):
    if labels[-2:] == ["cluster", "local"]:
        labels = labels[:-2]
    if len(labels) != 3 or labels[2] != "svc" or not all(label.replace("-", "").isalnum() for label in labels):
        return None
    name = tuple(labels[:2])
    address, until = known.get(name, (None, 0.0))
    if until <= time.monotonic():
        address = cluster_ip(*name)
        known[name] = address, time.monotonic() + KEPT
    return address


def cluster_ip(service, namespace):
    words = ["get", f"--namespace={namespace}", f"service/{service}", "-o", "jsonpath={.spec.clusterIP}", "--request-timeout=3s"]
    found = subprocess.run(["kubectl", *words], capture_output=True, text=True, check=False)
    return found.stdout if found.returncode == 0 and found.stdout not in ("", "None") else None


main()
