"""Gives up, in this process and for ever, whatever a program does not need: files, network, processes, signals.

Linux alone: Landlock for files, seccomp for system calls, rlimits for amounts. Numbers and structures are those of the
kernel's headers (``landlock.h``, ``seccomp.h``, ``filter.h``, ``audit.h``, the tables of system calls).
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import struct
import sys

_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 22, 38
_SIGKILL = 9
_SECCOMP_MODE_FILTER = 2
_CAPABILITIES = 0x20080522

# Forbidden system calls, on x86-64 and on 64-bit Arm (None: it has none): processes and threads, other programs,
# signals and other processes, network, mounts and namespaces, the kernel, memory that no limit counts, limits.
_FORBIDDEN = {
    "fork": (57, None), "vfork": (58, None), "clone": (56, 220), "execve": (59, 221), "execveat": (322, 281),
    "kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131), "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240), "pidfd_send_signal": (424, 424), "pidfd_open": (434, 434), "ptrace": (101, 117),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272), "setsid": (112, 157),
    "setpgid": (109, 154), "socket": (41, 198), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41),
    "chroot": (161, 51), "unshare": (272, 97), "setns": (308, 268), "open_by_handle_at": (304, 265), "bpf": (321, 280),
    "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218), "perf_event_open": (298, 241),
    "userfaultfd": (323, 282), "io_uring_setup": (425, 425), "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427), "init_module": (175, 105), "finit_module": (313, 273), "kexec_load": (246, 104),
    "kexec_file_load": (320, 294), "reboot": (169, 142), "swapon": (167, 224), "settimeofday": (164, 170),
    "clock_settime": (227, 112), "adjtimex": (159, 171), "acct": (163, 89), "memfd_create": (319, 279),
    "shmget": (29, 194), "msgget": (68, 186), "semget": (64, 190), "mq_open": (240, 180), "prctl": (157, 167),
    "setrlimit": (160, 164), "prlimit64": (302, 261),
}  # fmt: skip
_CLONE3 = 435  # by a structure in memory, which a filter cannot read: "no such call" makes the C library use clone
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_X32 = 0x40000000  # the same calls by other numbers

_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS = 1, 38

_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
# Every right of a version: files, then moving them between folders, truncating, device controls.
_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1}
_NEWEST_RIGHTS = (1 << 16) - 1
_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/share/zoneinfo", "/etc/ld.so.cache")
_DEVICES = ("/dev/null", "/dev/urandom", "/dev/zero")


def limit(cpu_s: int, memory_bytes: int) -> None:
    """Limit processor time, memory, open files, and what can be written to files: nothing."""
    for what, most in (
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 64),
    ):
        # On a Mac the memory of a process cannot be limited.
        if sys.platform.startswith("linux") or what != resource.RLIMIT_AS:
            resource.setrlimit(what, (most, most))


def die_with_parent() -> None:
    """End as soon as whoever started this process has ended."""
    _checked(_libc().prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0))


def give_up_privileges() -> None:
    """Drop every capability, and the right to gain one by running a program."""
    libc = _libc()
    _checked(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    header = ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITIES, 0))
    _checked(libc.capset(header, ctypes.create_string_buffer(bytes(24))))


def forbid_files() -> None:
    """Leave of all files Python's own library, the system's libraries and three devices, to be read.

    Raises:
        OSError: The kernel has no Landlock.
    """
    version = _checked(_libc().syscall(_LANDLOCK_CREATE, None, 0, 1))
    handled = _RIGHTS.get(version, _NEWEST_RIGHTS)
    attribute = ctypes.create_string_buffer(struct.pack("=Q", handled))
    rules = _checked(_libc().syscall(_LANDLOCK_CREATE, attribute, ctypes.c_size_t(8), 0))
    for path in (os.path.dirname(os.__file__), *_LIBRARIES, *_DEVICES):
        if os.path.exists(path):
            folder_rights = _READ_DIR | _EXECUTE if os.path.isdir(path) else 0
            writing = _WRITE_FILE if path == "/dev/null" else 0
            _allow(rules, path, _READ_FILE | folder_rights | writing)
    _checked(_libc().syscall(_LANDLOCK_RESTRICT, rules, 0))
    os.close(rules)


def forbid_system_calls() -> None:
    """Refuse with EPERM every system call that a computation does not need.

    Raises:
        OSError: The kernel has no seccomp, or the machine's system calls are not known here.
    """
    content = filter_program(platform.machine())
    buffer = ctypes.create_string_buffer(content)
    program = ctypes.create_string_buffer(struct.pack("@HP", len(content) // 8, ctypes.addressof(buffer)))
    _checked(_libc().prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, program, 0, 0))


def filter_program(machine: str) -> bytes:
    """Return the filter of system calls, as instructions of the kernel's packet filter of 8 bytes each.

    Args:
        machine: As `platform.machine` names it.

    Raises:
        OSError: Its system calls are not known here.
    """
    if machine not in _MACHINES:
        raise OSError(f"no list of system calls for {machine}")
    column, architecture = _MACHINES[machine]
    numbers = sorted(number for numbers in _FORBIDDEN.values() if (number := numbers[column]) is not None)
    steps = [
        (_LOAD, 0, 0, 4),  # the architecture of the call
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, 0),  # its number
        (_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _KILL),
        (_EQUAL, 0, 1, _CLONE3),
        (_RETURN, 0, 0, _ERROR | _ENOSYS),
    ]
    for number in numbers:
        steps += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ERROR | _EPERM)]
    return b"".join(struct.pack("=HBBI", *step) for step in [*steps, (_RETURN, 0, 0, _ALLOW)])


def _allow(rules: int, path: str, rights: int) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    rule = ctypes.create_string_buffer(struct.pack("=Qi", rights, descriptor))
    _checked(_libc().syscall(_LANDLOCK_ADD, rules, 1, rule, 0))
    os.close(descriptor)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
