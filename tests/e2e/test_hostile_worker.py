"""test_hostile_worker.py - whatever runs in the worker, the collector goes on reading and can be ended."""
from mwtest import Watch, check, equal, main, proc_stat, test

# With FFI a worker may do with its sockets what it likes.
HOSTILE = """
local mw, ffi = require "moonwatch", require "ffi"
ffi.cdef [[
long send(int fd, const void *bytes, size_t len, int flags);
unsigned sleep(unsigned seconds);
]]
local DONTWAIT_NOSIGNAL = 0x4040
mw.after(1, function() %s end)
return mw.script { name = "hostile", on = { exec = function(ev) mw.emit(ev) end } }
"""

SHORT = 'for fd = 3, 60 do ffi.C.send(fd, "ab", 2, DONTWAIT_NOSIGNAL) end while true do ffi.C.sleep(1000) end'

# 2 is WORKER_RETELL; the size is that of struct worker_message.
TALK = """
local message = ffi.new "uint32_t[2048]"
message[0] = 2
while true do for fd = 3, 30 do ffi.C.send(fd, message, 4480, DONTWAIT_NOSIGNAL) end end
"""


def ticks(pid):
    """Processor time that it took, user and system, in ticks."""
    stat = proc_stat(pid)
    return int(stat[1][11]) + int(stat[1][12])


@test("a worker that says nonsense and lives is followed by another, without the script that did it")
def nonsense():
    with Watch("--json", trusted=[HOSTILE % SHORT]) as w:
        worker = w.workers()[1]
        w.wait_error("hostile is off until its file changes: its worker was killed by Killed in one of its calls")
        w.marker()
        check(worker not in w.workers(), "it is the same worker")
        equal(w.stop(), 0, "status")


@test("a worker that talks without end is ended at the limit of a call, and the watch goes on")
def endless():
    with Watch("--json", trusted=[HOSTILE % TALK]) as w:
        worker = w.workers()[1]
        w.wait(lambda: ticks(worker) > 20, "the worker to be at it")
        w.wait_error("hostile is off until its file changes: a call took longer than 1 s")
        w.marker()
        equal(w.stop(), 0, "status")


if __name__ == "__main__":
    main()
