"""Who may change a drop-in: root and the user that adsyncd runs as. Whoever else may, could have it do as he likes.

A group is no one else if nobody but these two is in it, as with the private groups that Debian gives to users (and its
OpenSSH accepts for the same reason). That the file system is mounted read-only says nothing: systemd mounts all of them
so for a hardened service, and for that service alone.
"""

import grp
import os
import pwd
import shlex
import stat
from pathlib import Path

from adsyncd.errors import Problem

_ACL = "system.posix_acl_access"


class Custodians:
    """Root and one user. What is found out about groups is remembered, so this is good for one reading."""

    def __init__(self, uid: int) -> None:
        self._uids = {0, uid}
        self._groups: dict[int, bool] = {0: True}

    def objection(self, path: Path, seen: os.stat_result) -> Problem | None:
        """Say what is wrong if others may change `path`, of which `seen` is the status, and how to fix it."""
        quoted = shlex.quote(str(path))
        if seen.st_uid not in self._uids:
            what, fix = f"belongs to {_user(seen.st_uid)}, who may change it", f"chown root {quoted}"
        elif seen.st_mode & stat.S_IWOTH or (seen.st_mode & stat.S_IWGRP and not self._only_ours(path, seen.st_gid)):
            what, fix = "may be changed by others than root and the daemon's user", f"chmod go-w {quoted}"
        else:
            return None
        return Problem(path, None, None, what, fix)

    def _only_ours(self, path: Path, gid: int) -> bool:
        """Say whether a group's right to write is nobody else's. With an ACL it stands for whoever the ACL names."""
        if gid not in self._groups:
            self._groups[gid] = self._members(gid) <= self._uids
        return self._groups[gid] and not _has_acl(path)

    @staticmethod
    def _members(gid: int) -> set[int]:
        """Return the users of a group; -1 stands for those that can't be told."""
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
    except OSError:  # there are none on this file system
        return False


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
