"""rebind.py - the parts of million about connection IDs. rebind: devices change their address; a
NAT moves all of them at once; and somebody on the way copies, forges and races what others say. In
small the same with the other ways to check an address, or not to. cid: what connection IDs cost
those who do not ask for them, and those who do."""
import re
import socket
import time
import urllib.request

import free_port as ports

CHECKED_WITHIN = 120  # seconds; a check takes one and a round trip
AFRESH_WITHIN = 1.5
CHANGES = "handfast_address_changes_total"
DROPS = "handfast_drops_total"


class Metrics:
    """What the daemon tells of itself."""

    def __init__(self):
        self.port = ports.free_port(socket.SOCK_STREAM)

    def scrape(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics") as answer:
            text = answer.read().decode()
        return {name: int(float(value)) for name, value in
                re.findall(r"^(handfast_[^ ]+) (\S+)$", text, re.M)}

    def wait(self, is_there):
        """Scrapes until that is so, or will not be; and once more, for shards tell of themselves
        once a second."""
        until = time.monotonic() + CHECKED_WITHIN
        while not is_there(self.scrape()) and time.monotonic() < until:
            time.sleep(0.2)
        time.sleep(AFRESH_WITHIN)
        return self.scrape()


def total(samples, name):
    return sum(value for sample, value in samples.items()
               if sample == name or sample.startswith(name + "{"))


def of(samples, name, label):
    values = [value for sample, value in samples.items()
              if sample.startswith(name + "{") and f'="{label}"' in sample]
    if not values:
        raise KeyError(f"{name}: {label}")
    return sum(values)


class Case:
    """So many devices on a daemon of their own; `how` they change, or are meddled with."""

    def __init__(self, parts, name, devices, how, *server, load=(), shards=2):
        world, self.report, make_server, make_load = parts
        self.name, self.devices, self.metrics = name, devices, Metrics()
        with make_server(world, None, "--respond", "echo", "--metrics",
                         f"127.0.0.1:{self.metrics.port}", *server, shards=shards,
                         devices=devices) as daemon:
            run = make_load(world, daemon, "--devices", str(devices), "--exchange", *how, *load,
                            "--hold", "input")
            run.held()
            self.samples = self.metrics.wait(self.is_settled)
            self.told = run.wait()

    def is_settled(self, samples):
        checks = total(samples, "handfast_address_checks_total")
        done = sum(of(samples, CHANGES, outcome) for outcome in ("moved", "kept", "unanswered"))
        return done >= checks and total(samples, "handfast_associations") == self.devices and \
            total(samples, "handfast_handshakes_total") >= self.devices

    def judge(self):
        """What has to be so however it went; gives the numbers of it."""
        told, samples, report = self.told, self.samples, self.report
        handshakes = total(samples, "handfast_handshakes_total")
        outcomes = {outcome: of(samples, CHANGES, outcome)
                    for outcome in ("moved", "kept", "unanswered", "refused")}
        strayed = of(samples, "handfast_io_datagrams_strayed_total", "handed_over")
        print(f"rebind: {self.name}: {self.devices:,} devices; the daemon: "
              f"{handshakes:,} handshakes, {total(samples, 'handfast_associations'):,} "
              f"associations, {total(samples, 'handfast_address_checks_total'):,} addresses "
              "checked: " + ", ".join(f"{value:,} {key}" for key, value in outcomes.items()) +
              f"; {strayed:,} datagrams handed between shards; "
              f"{told['exchange_server_us']:.1f} us of its CPU a message", flush=True)
        report.judge(handshakes == self.devices and told["begun"] == self.devices and
                     told["failed"] == 0, f"{handshakes:,} handshakes: nobody has made a second")
        report.judge(told["lost"] == 0 and told["close_answered"] == self.devices,
                     f"{told['lost']} lost, {told['close_answered']:,} knew their keys at the end")
        report.note("rebind", case=self.name, devices=self.devices, outcomes=outcomes,
                    drops={name: value for name, value in samples.items()
                           if name.startswith(DROPS) and value > 0}, load=told)
        return outcomes


def rebound(parts, name, devices, *server, load=(), shards=2):
    case = Case(parts, name, devices, ("--rebind", "1"), *server, load=load, shards=shards)
    outcomes = case.judge()
    told = case.told
    case.report.judge(told["rebound"] == devices and told["continued"] == devices and
                      told["unanswered"] == 0,
                      f"{told['rebound']:,} rebound, of them {told['continued']:,} continued; "
                      f"{told['sent_again']:,} messages said again")
    case.report.judge(told["rebind_handshakes"] == 0,
                      f"{told['rebind_handshakes']} handshakes after the rebinding")
    case.report.judge(outcomes["moved"] == devices and
                      outcomes["kept"] + outcomes["unanswered"] == 0,
                      f"{outcomes['moved']:,} addresses changed; {told['deaf']:,} datagrams to "
                      "those that were left")


def spoofed(parts, name, devices, how, *server, load=()):
    case = Case(parts, f"{name}, {how}", devices, ("--spoof", how), *server, load=load)
    outcomes = case.judge()
    told = case.told
    case.report.judge(outcomes["moved"] == 0,
                      f"{told['spoofed']:,} spoofed records: {outcomes['moved']} addresses "
                      f"changed, {outcomes['kept']:,} kept after a check")
    dropped = sum(of(case.samples, DROPS, cause)
                  for cause in ("replay", "unauthentic", "trial_rate"))
    case.report.judge(told["spoofed"] > 0 and dropped >= told["spoofed"],
                      f"{dropped:,} records dropped")
    case.report.judge(told["answered"] == devices and told["unanswered"] == 0 and
                      told["diverted_bytes"] <= 3 * told["spoofed_bytes"],
                      f"{told['answered']:,} devices answered, {told['sent_again']:,} messages "
                      f"said again; {told['diverted_bytes']:,} bytes to the spoofer's addresses "
                      f"for {told['spoofed_bytes']:,} from there")


def run(*parts):
    """In: world, report, and how to make a server and a load."""
    options = parts[0].options
    devices = min(options.devices, options.rebind_devices)
    small = min(devices, 2000)
    rebound(parts, "enhanced", devices)
    for how in ("race",) if options.smoke else ("replay", "forge", "race"):
        spoofed(parts, "enhanced", devices, how)
    if options.smoke:
        return
    rebound(parts, "basic", small, "--address-check", "basic")
    spoofed(parts, "basic", small, "race", "--address-check", "basic")
    for policy in ("bounded", "follow"):
        rebound(parts, f"peers that cannot be asked, {policy}", small, "--address-unchecked",
                policy, load=("--no-rrc",))
    for how in ("replay", "forge"):
        spoofed(parts, "peers that cannot be asked, bounded", small, how, load=("--no-rrc",))
    spoofed(parts, "peers that cannot be asked, fixed", small, "race", "--address-unchecked",
            "fixed", load=("--no-rrc",))
    rebound(parts, "enhanced, epoll, one shard", small, "--io", "epoll", shards=1)


# Name, what the daemon offers, what the devices ask for.
COSTS = [("off", "off", "off"), ("on, not asked for", "on", "off"),
         ("used by devices", "on", "send"), ("used by both", "on", "on")]
UNASKED_MAX = 1.05
BYTES_MAX = 4


def cost(world, report, make_server, make_load):
    """Rounds of all cases in turn: what else the machine does meets all alike."""
    options = world.options
    if options.smoke:
        return
    devices = str(min(options.devices, options.rebind_devices))
    runs = {name: [] for name, _, _ in COSTS}
    for _ in range(options.rounds):
        for name, offered, asked in COSTS:
            with make_server(world, None, "--respond", "echo", "--connection-id", offered,
                             devices=int(devices)) as daemon:
                runs[name].append(make_load(world, daemon, "--devices", devices, "--exchange",
                                            "--cid", asked).wait())
    # The least of each: what else the machine does only ever adds.
    figures = {name: [min(told[key] for told in told_all) for key in
                      ("server_us", "exchange_server_us", "bytes_per_association")]
               for name, told_all in runs.items()}
    for name, (handshake, message, size) in figures.items():
        print(f"cid: {name}: {handshake:.2f} us a handshake, {message:.2f} us a message and its "
              f"echo, {size:.1f} bytes an association", flush=True)
        report.judge(all(told["completed"] == int(devices) and told["unanswered"] == 0
                         for told in runs[name]), "all established, all answered")
    off, unasked = figures["off"], figures["on, not asked for"]
    ratios = [unasked[i] / off[i] for i in range(2)]
    report.judge(max(ratios) <= UNASKED_MAX and abs(unasked[2] - off[2]) <= BYTES_MAX,
                 f"on, not asked for: {ratios[0]:.3f} of a handshake, {ratios[1]:.3f} of a message "
                 f"(at most {UNASKED_MAX}), {unasked[2] - off[2]:+.1f} bytes")
    report.note("cid", figures=figures, runs=runs)
