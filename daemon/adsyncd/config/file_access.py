"""Which files adsyncd trusts: regular ones, and among drop-ins those that only root and the daemon's user can change.

Anyone else with write access could control the daemon. A group counts as nobody else if only these two are in it, as
with Debian's private groups (its OpenSSH accepts them for the same reason). A read-only mount proves nothing: systemd
mounts all file systems so for a hardened service, and only for that service.
"""

import grp
import os
import pwd
import shlex
import stat
from pathlib import Path

from adsyncd.errors import Problem

_ACL = "system.posix_acl_access"


class NotRegular(OSError):
    """The path leads to a pipe, a device or a socket."""

    def __init__(self) -> None:
        super().__init__()
        self.strerror = "not a regular file"


def read_regular(path: Path, most_bytes: int) -> bytes:
    """Return a file's content, at most one byte more than `most_bytes`. Raises OSError.

    Opening a pipe would block, and a device may never end: for both it raises `NotRegular`.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # for a directory `open` below raises
            raise NotRegular
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(most_bytes + 1)
    finally:
        os.close(descriptor)


class Custodians:
    """Root and one user. Caches the members of groups, so use one for each pass over the files."""

    def __init__(self, uid: int) -> None:
        self._uids = {0, uid}
        self._groups: dict[int, bool] = {0: True}

    def objection(self, path: Path, seen: os.stat_result) -> Problem | None:
        """Return the problem and its fix if others may change `path`, whose status is `seen`; else None."""
        quoted = shlex.quote(str(path))
        if seen.st_uid not in self._uids:
            what, fix = f"belongs to {_user(seen.st_uid)}, who may change it", f"chown root {quoted}"
        elif seen.st_mode & stat.S_IWOTH or (seen.st_mode & stat.S_IWGRP and not self._only_ours(path, seen.st_gid)):
            what, fix = "is writable by others than root and the daemon's user", f"chmod go-w {quoted}"
        else:
            return None
        return Problem(path, None, None, what, fix)

    def _only_ours(self, path: Path, gid: int) -> bool:
        """Return whether a group's write bit lets nobody else write. With an ACL it may stand for other users."""
        if gid not in self._groups:
            self._groups[gid] = self._members(gid) <= self._uids
        return self._groups[gid] and not _has_acl(path)

    @staticmethod
    def _members(gid: int) -> set[int]:
        """Return the ids of a group's users; -1 stands for unknown users."""
        users = pwd.getpwall()
        try:
            named = grp.getgrgid(gid).gr_mem
        except KeyError:
            return {-1}
        by_name = {user.pw_name: user.pw_uid for user in users}
        return {by_name.get(name, -1) for name in named} | {user.pw_uid for user in users if user.pw_gid == gid}


def _has_acl(path: Path) -> bool:
    try:
        return _ACL in os.listxattr(path)
    except OSError:  # the file system has no attributes
        return False


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
