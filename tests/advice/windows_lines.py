"""How Windows PowerShell reads a line: words, cmdlets, parameters, types, as Microsoft documents them.

A strict reader of the cmdlets that an administrator of VMQ uses (windows-powershell-docs, modules NetAdapter,
Hyper-V, NetLbfo). It shares no code with the advisor, whose lines it judges.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

RELEASES: Final = ("2008 R2", "2012", "2012 R2", "2016", "2019", "2022", "2025")
SINGLE_QUOTES: Final = "'\u2018\u2019\u201a\u201b"  # PowerShell reads typographic quotes as quotes, too
DOUBLE_QUOTES: Final = '"\u201c\u201d\u201e'
_ENDS_WORD: Final = frozenset(" \t,|;{}()" + SINGLE_QUOTES + DOUBLE_QUOTES)
_INTEGERS: Final = {"Byte": 2**8, "UInt16": 2**16, "UInt32": 2**32, "Int32": 2**31}


class LineError(ValueError):
    """A line that PowerShell refuses, or reads as something else than it says."""


@dataclass(frozen=True)
class Word:
    """A word of a line: its text, and whether quotes made it."""

    text: str
    quoted: bool = False
    block: bool = False  # a script block or a subexpression, which is not read

    @property
    def names_parameter(self) -> bool:
        return not self.quoted and not self.block and re.match(r"-[A-Za-z]", self.text) is not None


def words_of(line: str) -> list[Word]:
    """The words of a line; commas, pipes and semicolons are words of their own."""
    words: list[Word] = []
    at = 0
    while at < len(line):
        char = line[at]
        if char in " \t":
            at += 1
        elif char == "#":
            break
        elif char in ",|;":
            words.append(Word(char))
            at += 1
        elif char in SINGLE_QUOTES + DOUBLE_QUOTES:
            text, at = _quoted(line, at)
            words.append(Word(text, quoted=True))
        elif char in "{(":
            end = _closing(line, at)
            words.append(Word(line[at : end + 1], block=True))
            at = end + 1
        else:
            start = at
            while at < len(line) and line[at] not in _ENDS_WORD:
                at += 1
            if start == at:
                raise LineError(f"a stray {char}")
            words.append(_bare(line[start:at]))
    return words


def _bare(text: str) -> Word:
    if text.lower() not in ("$true", "$false", "$null") and re.search(r"[$`&<>@\[\]]", text):
        raise LineError(f"{text} is not a plain word: it would be expanded, redirected or run")
    return Word(text)


def _quoted(line: str, at: int) -> tuple[str, int]:
    """The text of the string that begins at ``at``, and where the line goes on behind it."""
    quotes = SINGLE_QUOTES if line[at] in SINGLE_QUOTES else DOUBLE_QUOTES
    text: list[str] = []
    at += 1
    while at < len(line):
        char = line[at]
        if char not in quotes:
            if quotes is DOUBLE_QUOTES and char in "$`":
                raise LineError(f"{char} in double quotes is expanded")
            text.append(char)
            at += 1
        elif at + 1 < len(line) and line[at + 1] in quotes:
            text.append(line[at + 1])
            at += 2
        else:
            if at + 1 < len(line) and line[at + 1] not in " \t,|;)}":
                raise LineError(f"the string ends before {line[at + 1 :]}: a quote in it is not doubled")
            return "".join(text), at + 1
    raise LineError("a string without its closing quote")


def _closing(line: str, at: int) -> int:
    depth = 0
    while at < len(line):
        char = line[at]
        if char in SINGLE_QUOTES + DOUBLE_QUOTES:
            _, at = _quoted(line, at)
            continue
        depth += (char in "{(") - (char in "})")
        if depth == 0:
            return at
        at += 1
    raise LineError("a block or a parenthesis that does not end")


@dataclass(frozen=True)
class Cmdlet:
    """A cmdlet: its parameters and their types, the one that needs no name, and its first release."""

    parameters: Mapping[str, str]
    first: str = ""
    since: str = "2012"
    needs: tuple[str, ...] = ()  # one of these
    shapes: bool = False  # formats or filters what comes down the pipe: its words are not read


_MANY: Final = {"CimSession": "String[]", "ThrottleLimit": "Int32", "AsJob": "Switch", "PassThru": "Switch"}
_COMMON: Final = {
    **_MANY,
    **{
        "WhatIf": "Switch",
        "Confirm": "Switch",
        "Verbose": "Switch",
        "ErrorAction": "String",
        "WarningAction": "String",
    },
}
_ADAPTER: Final = {"Name": "String[]", "InterfaceDescription": "String[]", "IncludeHidden": "Switch"}
_PHYSICAL: Final = Cmdlet(_ADAPTER, "Name")
_VMQ: Final = {
    **{"BaseProcessorGroup": "UInt16", "BaseProcessorNumber": "Byte", "MaxProcessorNumber": "Byte"},
    **{"MaxProcessors": "UInt32", "NumaNode": "UInt16", "Enabled": "Boolean", "NoRestart": "Switch"},
}
_VNIC: Final = {
    **{"VMName": "String", "Name": "String", "ManagementOS": "Switch", "ComputerName": "String[]"},
    **{"VmqWeight": "UInt32", "VmmqEnabled": "Boolean", "VmmqQueuePairs": "UInt32", "VrssEnabled": "Boolean"},
    **{"VrssQueueSchedulingMode": "String", "StaticMacAddress": "String", "AllowTeaming": "String"},
    **{"IovWeight": "UInt32", "MaximumBandwidth": "Int64", "MinimumBandwidthWeight": "UInt32"},
}
_VLAN: Final = {
    **{"VMName": "String[]", "VMNetworkAdapterName": "String", "ManagementOS": "Switch"},
    **{"Access": "Switch", "Trunk": "Switch", "Untagged": "Switch", "VlanId": "Int32"},
    **{"AllowedVlanIdList": "String", "NativeVlanId": "Int32", "ComputerName": "String[]"},
}
_ONE_OF_THEM: Final = ("VMName", "ManagementOS", "All", "|")
_ITEM: Final = {"Path": "String", "Name": "String", "Value": "Int32", "Type": "String", "Force": "Switch"}
_PROPERTY: Final = {"RegistryKeyword": "String[]", "DisplayName": "String[]", "AllProperties": "Switch"}
_SHAPER: Final = Cmdlet({}, since="2008 R2", shapes=True)

CMDLETS: Final[Mapping[str, Cmdlet]] = {
    "Set-NetAdapterVmq": Cmdlet({**_ADAPTER, **_VMQ}, "Name", needs=("Name", "InterfaceDescription", "|")),
    "Enable-NetAdapterVmq": Cmdlet({**_ADAPTER, "NoRestart": "Switch"}, "Name", needs=("Name", "|")),
    "Disable-NetAdapterVmq": Cmdlet({**_ADAPTER, "NoRestart": "Switch"}, "Name", needs=("Name", "|")),
    "Restart-NetAdapter": Cmdlet(_ADAPTER, "Name", needs=("Name", "|")),
    "Set-NetAdapterAdvancedProperty": Cmdlet(
        {
            **_ADAPTER,
            **_PROPERTY,
            "RegistryValue": "String[]",
            "DisplayValue": "String",
            "NoRestart": "Switch",
        },
        "Name",
    ),
    "Get-NetAdapterAdvancedProperty": Cmdlet({**_ADAPTER, **_PROPERTY}, "Name"),
    **dict.fromkeys(
        [
            "Get-NetAdapter",
            "Get-NetAdapterVmq",
            "Get-NetAdapterVmqQueue",
            "Get-NetAdapterVPort",
            "Get-NetAdapterRss",
        ],
        _PHYSICAL,
    ),
    **dict.fromkeys(["Get-NetAdapterHardwareInfo", "Get-NetAdapterStatistics"], _PHYSICAL),
    "Set-VMNetworkAdapter": Cmdlet(_VNIC, "VMName", needs=_ONE_OF_THEM),
    "Get-VMNetworkAdapter": Cmdlet(
        {
            "VMName": "String[]",
            "Name": "String",
            "ManagementOS": "Switch",
            "All": "Switch",
            "SwitchName": "String",
        },
        "VMName",
        needs=_ONE_OF_THEM,
    ),
    "Set-VMNetworkAdapterVlan": Cmdlet(_VLAN, "VMName", needs=_ONE_OF_THEM),
    "Get-VMNetworkAdapterVlan": Cmdlet(
        {"VMName": "String[]", "VMNetworkAdapterName": "String", "ManagementOS": "Switch"}, "VMName"
    ),
    "Get-VM": Cmdlet({"Name": "String[]", "ComputerName": "String[]"}, "Name"),
    "Resume-VM": Cmdlet({"Name": "String[]"}, "Name", needs=("Name", "|")),
    "Suspend-VM": Cmdlet({"Name": "String[]"}, "Name", needs=("Name", "|")),
    "Stop-VM": Cmdlet(
        {"Name": "String[]", "Save": "Switch", "TurnOff": "Switch", "Force": "Switch"},
        "Name",
        needs=("Name", "|"),
    ),
    "Get-VMSwitch": Cmdlet({"Name": "String[]"}, "Name"),
    "Get-VMSwitchTeam": Cmdlet({"Name": "String[]", "SwitchName": "String"}, "Name", since="2016"),
    "Get-NetLbfoTeam": Cmdlet({"Name": "String[]"}, "Name"),
    "Set-NetLbfoTeam": Cmdlet(
        {"Name": "String[]", "TeamingMode": "String", "LoadBalancingAlgorithm": "String"}, "Name"
    ),
    "Get-VMHostNumaNode": Cmdlet({"Id": "Int32"}),
    "Get-ClusterGroup": Cmdlet({"Name": "String[]", "Cluster": "String"}, "Name"),
    "Get-Counter": Cmdlet(
        {"Counter": "String[]", "MaxSamples": "Int32", "SampleInterval": "Int32", "Continuous": "Switch"},
        "Counter",
        since="2008 R2",
    ),
    "Get-WinEvent": Cmdlet(
        {"LogName": "String[]", "MaxEvents": "Int32", "FilterHashtable": "Table"}, since="2008 R2"
    ),
    "Get-ItemProperty": Cmdlet({"Path": "String[]", "Name": "String[]"}, "Path", since="2008 R2"),
    "Set-ItemProperty": Cmdlet(_ITEM, "Path", since="2008 R2"),
    "New-ItemProperty": Cmdlet({**_ITEM, "PropertyType": "String"}, "Path", since="2008 R2"),
    **dict.fromkeys(["Format-List", "Format-Table", "Select-Object", "Sort-Object", "Where-Object"], _SHAPER),
    "Measure-Object": _SHAPER,
}
ALIASES: Final = {  # of parameters, as the pages list them
    **{"BaseG": "BaseProcessorGroup", "BaseN": "BaseProcessorNumber", "MaxN": "MaxProcessorNumber"},
    **{"Max": "MaxProcessors", "NumaN": "NumaNode", "RegKey": "RegistryKeyword", "AccessVlanId": "VlanId"},
}
_BY_NAME: Final = {name.lower(): name for name in CMDLETS}


@dataclass(frozen=True)
class Command:
    """One stage of a line: a cmdlet and its parameters by name, each with a value of its documented type."""

    cmdlet: str
    values: Mapping[str, object] = field(default_factory=dict)
    piped: bool = False

    def number(self, name: str) -> int | None:
        value = self.values.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def texts(self, name: str) -> tuple[str, ...]:
        value = self.values.get(name, ())
        return (value,) if isinstance(value, str) else value if isinstance(value, tuple) else ()

    def on(self, name: str) -> bool:
        return self.values.get(name) is True


@lru_cache(4096)  # the same line is typed on a host after each of those before it
def read(line: str) -> Sequence[Command]:
    """The stages of a line, in order. A comment or an empty line has none. Raises LineError."""
    stages: list[list[Word]] = [[]]
    for word in words_of(line):
        if word in (Word("|"), Word(";")):
            stages.append([])
            if word.text == ";":
                raise LineError("two statements on a line")
        else:
            stages[-1].append(word)
    if stages == [[]]:
        return ()
    return tuple(_command(stage, piped=number > 0) for number, stage in enumerate(stages))


def _command(words: list[Word], *, piped: bool) -> Command:
    if not words:
        raise LineError("a pipe with nothing beside it")
    name = _BY_NAME.get(words[0].text.lower()) if not words[0].quoted else None
    if name is None:
        raise LineError(f"{words[0].text} is no cmdlet of this reader")
    cmdlet = CMDLETS[name]
    if cmdlet.shapes:
        if not piped:
            raise LineError(f"{name} has nothing to shape")
        return Command(name, piped=True)
    values = dict(_bound(name, cmdlet, words[1:]))
    given = {*values, *(["|"] if piped else [])}
    if cmdlet.needs and not given & {*cmdlet.needs}:
        raise LineError(f"{name} asks which one: {', '.join(cmdlet.needs[:2])}")
    return Command(name, values, piped)


def _bound(name: str, cmdlet: Cmdlet, words: list[Word]) -> Iterator[tuple[str, object]]:
    known = {one.lower(): one for one in (*cmdlet.parameters, *_COMMON)}
    known |= {alias.lower(): full for alias, full in ALIASES.items() if full in cmdlet.parameters}
    seen: set[str] = set()
    at = 0
    while at < len(words):
        if words[at].names_parameter:
            asked, _, stuck = words[at].text[1:].partition(":")
            parameter = known.get(asked.lower())
            if parameter is None:
                raise LineError(f"{name} has no parameter -{asked}")
            at += 1
        else:
            parameter, stuck = cmdlet.first, ""
            if not parameter or parameter in seen:
                raise LineError(f"{name}: {words[at].text} belongs to no parameter")
        if parameter in seen:
            raise LineError(f"{name}: -{parameter} twice")
        seen.add(parameter)
        kind = cmdlet.parameters.get(parameter) or _COMMON[parameter]
        if kind == "Switch":
            yield parameter, _truth(stuck or "$true")
            continue
        given, at = ([Word(stuck)], at) if stuck else _values(words, at)
        if not given:
            raise LineError(f"{name}: -{parameter} has no value")
        yield parameter, _typed(kind, given, f"{name} -{parameter}")


def _values(words: list[Word], at: int) -> tuple[list[Word], int]:
    """The value at ``at``, several with commas between them, and where the line goes on."""
    found: list[Word] = []
    while at < len(words) and not words[at].names_parameter and words[at] != Word(","):
        found.append(words[at])
        at += 1
        if at >= len(words) or words[at] != Word(","):
            return found, at
        at += 1
    if found:
        raise LineError("a list that ends with a comma")
    return found, at


def _truth(text: str) -> bool:
    if text.lower() not in ("$true", "$false"):
        raise LineError(f"{text} is not $true or $false")
    return text.lower() == "$true"


def _typed(kind: str, words: list[Word], where: str) -> object:
    if kind == "Table":
        return words[0].text
    if any(word.block for word in words):
        raise LineError(f"{where}: {words[0].text} is not a plain value")
    if kind.endswith("[]"):
        return tuple(word.text for word in words)
    if len(words) > 1:
        raise LineError(f"{where} takes one {kind}, not a list (a list of VLANs is one string)")
    text = words[0].text
    if kind == "Boolean":
        return _truth(text)
    if kind == "String":
        return text
    if not re.fullmatch(r"-?[0-9]{1,19}", text):
        raise LineError(f"{where}: {text} is no number")
    least, above = (-(2**31), 2**31) if kind == "Int32" else (0, _INTEGERS.get(kind, 2**63))
    if not least <= int(text) < above:
        raise LineError(f"{where}: {text} is no {kind} ({least}..{above - 1})")
    return int(text)
