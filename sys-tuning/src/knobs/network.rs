//! Network cards and protocols: what holds a packet back between the wire and the application.
//!
//! What a driver holds is read and written by netlink, an aspect of an interface at a time (`link`); the rest is variables
//! of sysctl(8), which belong to a network namespace: a process that is not in the host's leaves them alone.

pub(crate) mod around;
pub(crate) mod flow;
pub(crate) mod link;
pub(crate) mod place;

use crate::declared;
use crate::draft::{Draft, Scope};
use crate::profile::Wanted;
use crate::registry::{Absence, Attribute, Blast, Group, Home, Kind, Knob, Needs, PLAIN, Topic};

use link::INTERFACES;

/// A sysctl of the host's network.
const VARIABLE: Knob = Knob {
    group: Group::Network,
    reads: &[Topic::Network],
    wish: wish_variable,
    absence: Absence::NotApplicable("this kernel, or this network namespace, has no such variable"),
    effect: "the network stack reads this variable each time",
    ..PLAIN
};

/// What a driver holds.
const DRIVER: Knob = Knob {
    group: Group::Network,
    needs: Needs::NetAdmin,
    reads: &[Topic::Network],
    wish: link::wish,
    locate: link::locate,
    absence: Absence::NotApplicable("the interface is gone, or its driver has no such settings"),
    effect: "the driver is asked again after it was told: what it rounded, or did not take, is not ok",
    undo: "every value of the original set that differs is told to the driver again, in one message",
    paths: &["ethtool of {interface}"],
    ..PLAIN
};

const USECS: Kind = Kind::Integer { min: 0, max: u32::MAX as i64 };
const FRAMES: Kind = USECS;

/// How many packets, or microseconds, an interrupt stands for.
pub(crate) static COALESCE: Knob = Knob {
    id: "net.coal",
    doc: "a card that waits for more packets before it interrupts adds that wait to each of them",
    attributes: &[
        INTERFACES,
        Attribute::new("adaptive_rx", Kind::Flag, "whether the driver chooses the receive values by itself"),
        Attribute::new("adaptive_tx", Kind::Flag, "whether the driver chooses the send values by itself"),
        Attribute::new(
            "rx_usecs",
            USECS,
            "the longest a received packet waits for an interrupt, in microseconds",
        ),
        Attribute::new("rx_frames", FRAMES, "received packets that make an interrupt at once"),
        Attribute::new(
            "tx_usecs",
            USECS,
            "the longest a sent packet waits to be accounted for, in microseconds",
        ),
        Attribute::new("tx_frames", FRAMES, "sent packets that are accounted for at once"),
    ],
    source: "adaptive off, 0 us: Mellanox driver manual, Solarflare user guide",
    ..DRIVER
};

/// How many packets a queue holds.
pub(crate) static RINGS: Knob = Knob {
    id: "net.ring",
    doc: "a ring too short drops bursts; one too long keeps old packets and falls out of the cache",
    attributes: &[
        INTERFACES,
        Attribute::new("rx", USECS, "packets a receive ring holds"),
        Attribute::new("tx", USECS, "packets a send ring holds"),
    ],
    source: "no guide gives a value: by measurement",
    blast: Blast::LinkReset,
    ..DRIVER
};

/// How many queues, and so interrupts, a card has.
pub(crate) static CHANNELS: Knob = Knob {
    id: "net.chan",
    doc: "queues beyond the housekeeping CPUs have interrupts that end up on isolated ones",
    attributes: &[
        INTERFACES,
        Attribute::new("combined", USECS, "queues that receive and send"),
        Attribute::new("rx", USECS, "queues that only receive"),
        Attribute::new("tx", USECS, "queues that only send"),
        Attribute::new(
            "cpus",
            Kind::Cpus,
            "a combined queue for each of these CPUs, as far as the card has them",
        )
        .excluding("combined"),
    ],
    source: "as many as housekeeping CPUs: TuneD realtime, cluster-node-tuning-operator userLevelNetworking",
    blast: Blast::LinkReset,
    reads: &[Topic::Network, Topic::Cpus],
    effect: "the driver is asked again after it was told; its interrupts and queues are made anew, so that irq.aff and \
             irq.rps are planned anew by the next apply, which the keeper makes by itself",
    ..DRIVER
};

/// What is done for whole batches of packets.
pub(crate) static OFFLOAD: Knob = Knob {
    id: "net.offload",
    doc: "joining packets holds the first of them back until the last is there",
    attributes: &[
        INTERFACES,
        Attribute::new("gro", Kind::Flag, "the stack joins received packets"),
        Attribute::new(
            "gro_hw",
            Kind::Flag,
            "the card joins received packets so that they can be told apart again",
        ),
        Attribute::new("lro", Kind::Flag, "the card joins received packets for good"),
        Attribute::new("gso", Kind::Flag, "the stack splits what is sent as late as it can"),
        Attribute::new(
            "sg",
            Kind::Flag,
            "the card gathers a packet from several places; without it nothing is split",
        ),
        Attribute::new("tso", Kind::Flag, "the card splits TCP that is sent"),
        Attribute::new("ntuple", Kind::Flag, "the card steers flows to queues by rules"),
        Attribute::new("rxhash", Kind::Flag, "the card tells each packet's hash"),
        Attribute::new("rxvlan", Kind::Flag, "the card takes VLAN tags off"),
        Attribute::new("txvlan", Kind::Flag, "the card puts VLAN tags on"),
    ],
    source: "by measurement on each host; LRO gains little with moderation off: Solarflare user guide",
    blast: Blast::LinkReset,
    undo: "every feature that differs from the original set is asked for as it was, also those that followed by themselves",
    ..DRIVER
};

/// Whether the other side of the wire may stop the card from sending.
pub(crate) static PAUSE: Knob = Knob {
    id: "net.pause",
    doc: "a pause frame from a switch stops everything the card sends",
    attributes: &[
        INTERFACES,
        Attribute::new("autoneg", Kind::Flag, "whether both sides agree on it by themselves"),
        Attribute::new("rx", Kind::Flag, "pause frames are obeyed"),
        Attribute::new("tx", Kind::Flag, "pause frames are sent"),
    ],
    source: "off: TuneD net plug-in",
    blast: Blast::LinkReset,
    ..DRIVER
};

/// Whether the link sleeps between packets.
pub(crate) static EEE: Knob = Knob {
    id: "net.eee",
    doc: "a link that sleeps takes microseconds to wake up for the next packet",
    attributes: &[
        INTERFACES,
        Attribute::new("enabled", Kind::Flag, "the link may sleep when both sides can"),
        Attribute::new("tx_lpi", Kind::Flag, "this side asks for sleep when it has nothing to send"),
    ],
    source: "off: Energy-Efficient Ethernet, IEEE 802.3az, trades wake-up time for power",
    blast: Blast::LinkReset,
    ..DRIVER
};

/// Polling the card from a system call that waits.
pub(crate) static BUSY: Knob = Knob {
    id: "net.busy",
    doc: "a read that polls the card finds its packet without the interrupt and the wake-up",
    attributes: &[
        Attribute::at(
            "busy_read",
            Kind::Integer { min: 0, max: 1_000_000 },
            "how long a blocking read of a new socket polls, in microseconds; 0: not at all",
            Home::Sysctl("net.core.busy_read"),
        ),
        Attribute::at(
            "busy_poll",
            Kind::Integer { min: 0, max: 1_000_000 },
            "how long poll and select poll the cards, in microseconds; 0: not at all",
            Home::Sysctl("net.core.busy_poll"),
        ),
    ],
    source: "50: TuneD network-latency, Solarflare user guide; better SO_BUSY_POLL on the socket: \
             Documentation/admin-guide/sysctl/net.rst",
    effect: "each poll and select reads busy_poll; busy_read is what sockets get that are made from now on, those that \
             there are keep theirs (net/core/sock.c, sock_init_data)",
    ..VARIABLE
};

/// What TCP does on its own account.
pub(crate) static TCP: Knob = Knob {
    id: "net.tcp",
    doc: "TCP slows down after a pause and waits for more to send, which a feed of small messages pays for",
    attributes: &[
        Attribute::at(
            "fastopen",
            Kind::Integer { min: 0, max: 0x607 },
            "bits: 1 as client, 2 as server, others: see ip-sysctl.rst",
            Home::Sysctl("net.ipv4.tcp_fastopen"),
        ),
        Attribute::at(
            "timestamps",
            Kind::Integer { min: 0, max: 2 },
            "0 none, 1 with an offset a connection, 2 without",
            Home::Sysctl("net.ipv4.tcp_timestamps"),
        ),
        Attribute::at(
            "slow_start_after_idle",
            Kind::Flag,
            "a connection that paused starts slowly again",
            Home::Sysctl("net.ipv4.tcp_slow_start_after_idle"),
        ),
        Attribute::at(
            "autocorking",
            Kind::Flag,
            "small writes wait for the card to be done with those before",
            Home::Sysctl("net.ipv4.tcp_autocorking"),
        ),
    ],
    source: "fastopen 3: TuneD network-latency; no slow start after idle: TuneD network-throughput",
    effect: "slow_start_after_idle and autocorking are read each time; the others as a connection is made: those that there \
             are keep what they agreed on",
    ..VARIABLE
};

const BYTES: Kind = Kind::Integer { min: 0, max: i32::MAX as i64 };

/// How much sockets may hold.
pub(crate) static BUFFERS: Knob = Knob {
    id: "net.buf",
    doc: "a socket whose buffer is full drops what the card received in time",
    attributes: &[
        Attribute::at(
            "rmem_max",
            BYTES,
            "the most a socket may ask for to receive, in bytes",
            Home::Sysctl("net.core.rmem_max"),
        ),
        Attribute::at(
            "wmem_max",
            BYTES,
            "the most a socket may ask for to send, in bytes",
            Home::Sysctl("net.core.wmem_max"),
        ),
        Attribute::at(
            "rmem_default",
            BYTES,
            "what a socket has to receive, in bytes",
            Home::Sysctl("net.core.rmem_default"),
        ),
        Attribute::at(
            "wmem_default",
            BYTES,
            "what a socket has to send, in bytes",
            Home::Sysctl("net.core.wmem_default"),
        ),
        Attribute::at(
            "tcp_rmem",
            Kind::Numbers(3),
            "what a TCP socket has to receive, in bytes: least, at first, most",
            Home::Sysctl("net.ipv4.tcp_rmem"),
        ),
        Attribute::at(
            "tcp_wmem",
            Kind::Numbers(3),
            "what a TCP socket has to send, in bytes: least, at first, most",
            Home::Sysctl("net.ipv4.tcp_wmem"),
        ),
    ],
    source: "TuneD network-throughput",
    effect: "the most is read when a socket asks; defaults, and TCP's first sizes, are what sockets get that are made \
             from now on, so that programs that run keep theirs until they open new ones",
    ..VARIABLE
};

/// How much the kernel takes off the cards at a time.
pub(crate) static BUDGET: Knob = Knob {
    id: "net.budget",
    doc: "a round of receiving that may last long holds its CPU for that long; one that is too short leaves packets waiting",
    attributes: &[
        Attribute::at(
            "packets",
            Kind::Integer { min: 1, max: 1_000_000 },
            "packets a round takes at most",
            Home::Sysctl("net.core.netdev_budget"),
        ),
        Attribute::at(
            "usecs",
            Kind::Integer { min: 1, max: 1_000_000 },
            "how long a round lasts at most, in microseconds",
            Home::Sysctl("net.core.netdev_budget_usecs"),
        ),
        Attribute::at(
            "backlog",
            Kind::Integer { min: 1, max: 10_000_000 },
            "packets that wait for a CPU at most, beyond which they are dropped",
            Home::Sysctl("net.core.netdev_max_backlog"),
        ),
    ],
    source: "TuneD network-throughput; Documentation/admin-guide/sysctl/net.rst",
    effect: "each round of receiving reads the first two, each packet that waits the third",
    ..VARIABLE
};

fn wish_variable(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft) {
    match &scope.facts.network.elsewhere {
        Some(reason) => draft.not_applicable(wanted, reason.clone()),
        None => declared::wish(scope, wanted, draft),
    }
}
