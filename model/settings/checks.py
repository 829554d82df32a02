"""What single settings must satisfy beyond their type: checks of one value that needs no other.

Each takes the value, returns it unchanged, and raises a refusal with the way to fix it.
"""

from __future__ import annotations

import base64
import re
from collections import Counter
from ipaddress import AddressValueError, IPv4Address, IPv4Network

from model.docker_networks import TAKEN
from model.gpu_catalogue import CATALOGUE, UNSUPPORTED
from model.problems import closest, did_you_mean, shown
from model.settings.fields import refusal
from model.subnets import PREFIX_LENGTHS
from model.tags import FEWEST_TAGS, OWN_TAGS, PROGRAM_TAGS

_PRIVATE_BLOCKS = tuple(map(IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))
_DEFAULT_BRIDGE = TAKEN[0]
_WIDEST_ALLOWED = 8

_S3_OBJECT = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/[^\s?#]+")
HOST_KEY_TYPES = ("ecdsa-sha2-nistp256", "ssh-ed25519")
"""Types of keys by which a host may be known, the one to know it by first.

Not ``ssh-rsa``: it is the name of a signature with SHA-1 too, which OpenSSH has offered no more since 8.8, and a client
that is given the type of a pinned key asks for just that (Go's x/crypto/ssh, in Pulumi's plugins).
"""
_NUMBERS = re.compile(r"[0-9.]+")
_LOCAL_FILE = re.compile(r"file:(/[A-Za-z0-9 ._+-]+)+")
_HTTPS_FILE = re.compile(r"https://[A-Za-z0-9.-]+(:[0-9]{1,5})?/[^\s?#@]+")


def catalogued(name: str) -> str:
    """An instance type that a node can run on."""
    if name in UNSUPPORTED:
        raise refusal(f"{name} cannot be a node: {UNSUPPORTED[name]}")
    if name not in CATALOGUE:
        families = dict.fromkeys(map(_family, CATALOGUE))
        alike = [each for each in CATALOGUE if _is_misspelt(_family(name), _family(each))]
        raise refusal(
            did_you_mean(name, alike, likeness=0.8)
            or f"AWS listed no NVIDIA GPU under this name; types that have some begin with {', '.join(families)}. If "
            "AWS has a new one, `python -m tools.generate_gpu_catalogue` refreshes model/gpu_instance_types.csv"
        )
    return name


def _family(instance_type: str) -> str:
    return instance_type.partition(".")[0]


def _is_misspelt(got: str, family: str) -> bool:
    """Whether one family may be meant by another: one letter more or less or in another place, as p3 is not p5."""
    if len(got) == len(family):
        return sorted(got.lower()) == sorted(family)
    return closest(got, [family], likeness=0.8) is not None


def unique(values: tuple[str, ...]) -> tuple[str, ...]:
    """A list without repetition."""
    repeated = [value for value, count in Counter(values).items() if count > 1]
    if repeated:
        names = ", ".join(map(shown, repeated))
        raise refusal("name each once", got=f"more than once: {names}")
    return values


def two_or_none(values: tuple[str, ...]) -> tuple[str, ...]:
    """An empty list, or one with at least two entries."""
    if len(values) == 1:
        raise refusal(
            "one alone leaves nowhere to go when its zone is out of GPUs; name at least two",
            got=f"only {shown(values[0])}",
        )
    return values


def not_leader(name: str) -> str:
    """A follower's name, which the leader's must stay apart from."""
    if name == "leader":
        raise refusal(
            "the leader has a section of its own; give the follower another name",
            allowed="any name but leader",
        )
    return name


def vpc_block(text: str) -> str:
    """The block of a new VPC: private, /16 to /20, clear of Docker's own."""
    block = _canonical_block(text)
    if block.prefixlen not in PREFIX_LENGTHS:
        raise refusal(
            f"/{block.prefixlen} is too {'large' if block.prefixlen < 16 else 'small'}; "
            "/16 to /20 hold the subnets of eight zones"
        )
    if not any(block.subnet_of(private) for private in _PRIVATE_BLOCKS):
        blocks = ", ".join(map(str, _PRIVATE_BLOCKS))
        raise refusal(f"only blocks within {blocks} are private")
    # A VPC in another network of Docker's is safe: every subnet is a part of that network, so Docker leaves it alone.
    # Images may set the address of the default bridge, and that is there first.
    if block.overlaps(_DEFAULT_BRIDGE):
        raise refusal(
            f"Docker uses {_DEFAULT_BRIDGE} on every node, which would hide part of the VPC"
        )
    return text


def allowed_source(text: str) -> str:
    """A block that may open the web interface: never the whole internet."""
    return _no_strangers(
        text,
        "nodes have private addresses anyway: name the networks "
        "that reach the VPC by VPN or peering, or use the port-forward command of the outputs",
    )


def telemetry_source(text: str) -> str:
    """A block that may open telemetry: never the whole internet."""
    return _no_strangers(
        text,
        "telemetry asks for no password, or for one that everybody knows: "
        "name the networks of who looks at it, or forward the port by SSH",
    )


def _no_strangers(text: str, instead: str) -> str:
    if _canonical_block(text).prefixlen < _WIDEST_ALLOWED:
        raise refusal(f"that is open to strangers, and {instead}")
    return text


def _canonical_block(text: str) -> IPv4Network:
    try:
        block = IPv4Network(text, strict=False)
    except ValueError:
        raise refusal("an IPv4 block is four numbers from 0 to 255, a slash and a length") from None
    if "/" not in text:
        raise refusal("add the length of the block after a slash; /32 is a single address")
    if str(block) != text:
        raise refusal(f"did you mean {shown(str(block))}?")
    return block


def free_tag_key(key: str) -> str:
    """A tag key that neither AWS nor this program keeps for itself."""
    if key.lower().startswith("aws:"):
        raise refusal(
            "AWS keeps these keys for itself", allowed="a key that does not start with aws:"
        )
    if key == "Name" or key.startswith("graphistry-cluster:"):
        raise refusal(
            "the program sets these tags itself, to find its resources again",
            allowed="a key other than Name that does not start with graphistry-cluster:",
        )
    return key


def few_tags(tags: dict[str, str]) -> dict[str, str]:
    """No more tags than fit beside the program's own on every resource."""
    over = len(tags) - OWN_TAGS
    if over > 0:
        raise refusal(
            f"AWS takes {FEWEST_TAGS} on some resources, objects in S3 among them, and the program sets "
            f"{PROGRAM_TAGS} itself: leave {over} out",
            got=f"{len(tags)} tags",
        )
    return tags


def release_source(source: str) -> str:
    """Where a tarball comes from, in a form that a node can still fetch next month."""
    forms = (_S3_OBJECT, _HTTPS_FILE, _LOCAL_FILE)
    if source == "preinstalled" or any(form.fullmatch(source) for form in forms):
        return source
    if source.startswith("file:"):
        raise refusal(
            "give the absolute path of the archive on the computer that runs `./cluster up`"
        )
    if re.match(r"https?://[^/]*@|[^?]*\?", source):
        raise refusal(
            "a user name or signature in a link ends up in logs, and a signature expires; copy the "
            "tarball to a bucket and give its s3:// address"
        )
    if source.startswith("http://"):
        raise refusal("use https, as anyone on the way could change what http brings")
    raise refusal(did_you_mean(source, ("preinstalled",)))


def host_name(text: str) -> str:
    """A name or an address; no name consists of numbers and dots alone, so such a one is a wrong address."""
    if _NUMBERS.fullmatch(text):
        _address(text)
    return text


def ipv4(text: str) -> str:
    """The address of one machine."""
    address = _address(text)
    if address.is_loopback or address.is_unspecified or address.is_multicast:
        raise refusal("no other machine reaches that; name the address in the cluster's network")
    return text


def _address(text: str) -> IPv4Address:
    try:
        return IPv4Address(text)
    except AddressValueError:
        raise refusal(
            "an IPv4 address is four numbers from 0 to 255 with dots between them"
        ) from None


def host_key(text: str) -> str:
    """A host's public key: its type and base64, as in known_hosts and without the host's name."""
    kind, _, rest = text.partition(" ")
    if kind == "ssh-rsa":
        raise refusal(
            "an RSA key is refused, because its type also stands for signatures with SHA-1, which SSH servers offer no "
            "more; name the host's ecdsa or ed25519 key: `./cluster host-keys STACK` collects it, and "
            "`sudo ssh-keygen -A` on the host makes it if there is none"
        )
    if kind not in HOST_KEY_TYPES:
        raise refusal(
            f"it begins with {' or '.join(HOST_KEY_TYPES)}; `./cluster host-keys STACK` collects them"
        )
    try:
        blob = base64.b64decode(rest.split(" ")[0], validate=True)
    except ValueError:
        raise refusal("after the type comes one word of base64, and it is cut here") from None
    if not blob[4:].startswith(kind.encode()):
        raise refusal("its base64 belongs to another type of key, or is cut")
    return text
