-- A command that leads out of a container, or a process of a container that is out already.
-- Why: nsenter into pid 1, mounts of the host's disks, release_agent and core_pattern, the socket of docker, privileged
--   containers with the host's root. And, whatever the way: a process whose control group is a container's while its
--   mount namespace is the host's.
-- ATT&CK: T1611, T1610
-- False positives: administrators who enter containers from the host (nsenter of a pid that is not 1 is left out), node
--   agents of Kubernetes that are made to do this: `ignore`.
-- Not seen: an escape through a hole in the kernel, until the process starts something.
-- Options: ignore = texts in control groups or command lines that are left out
local mw = require "moonwatch"
local command = require "moonwatch.command"

local ignore = mw.option("ignore", {})
local engines = mw.set { "docker", "podman", "nerdctl", "ctr", "crictl" }
local clients = mw.set { "curl", "nc", "ncat", "socat", "wget" }
local sockets = { "docker.sock", "containerd.sock", "crio.sock", "podman.sock" }

local function enters_host(ev)
  local text = command.flat(command.text(ev))
  return command.is(ev, { nsenter = true })
    and (text:find "%-t *1%f[%D]" or text:find "%-%-target[= ]1%f[%D]" or text:find "/proc/1/ns/")
      and "enters the host's namespaces"
    or command.is(ev, { chroot = true }) and (text:find "/proc/1/root" or text:find " /host%f[%W]"
      or text:find "/rootfs%f[%W]")
    and "goes to the host's root directory"
end

local function mounts_host(ev)
  local text = command.flat(command.text(ev))
  return command.is(ev, { mount = true }) and (command.after(text, "cgroup", "release_agent")
      or command.after(text, "%-t *cgroup%f[%W]", "rdma") or ev.container and text:find "/dev/[svxn][dvv][amd]")
    and "mounts what is the host's"
    or command.is(ev, { debugfs = true }) and text:find "/dev/" and "reads a disk past its file system"
    or ev.container and command.is(ev, { mknod = true }) and text:find " b " and "makes a device of a disk"
end

local function starts_privileged(ev)
  local text = command.is(ev, engines) and command.flat(command.text(ev))
  if text and (text:find " run" or text:find " create") then
    return (text:find "%-%-privileged" or text:find "%-v */:/" or text:find "%-%-volume[= ]/:/" or text:find "source=/,"
      or text:find "%-%-pid[= ]host" or text:find "docker%.sock") and "starts a container with the host's rights"
  end
end

local function by_socket(ev)
  return command.is(ev, clients) and command.contains(command.text(ev), sockets)
    and "speaks to the container engine by its socket"
end

local function writes_to_kernel(ev)
  local path = command.writes_to(ev, function(path)
    return path:find "release_agent$" or path == "/proc/sys/kernel/core_pattern" or path:find "/uevent_helper$"
      or path:find "binfmt_misc/register$"
  end)
  return path and "makes the kernel run something: writes " .. path
end

-- The mount namespace of the first process that is in no container and may be looked at: as a rule pid 1.
local of_host
local function host_namespace()
  if not of_host then
    for process in mw.processes() do
      if process.mnt_ns and not process.container then
        of_host = process.mnt_ns
        break
      end
    end
  end
  return of_host
end

-- The control group says container, the mount namespace is the host's.
local function is_out(ev)
  return ev.container and ev.mnt_ns and ev.mnt_ns == host_namespace()
    and "a process of the container " .. ev.container .. " sees the host's file systems"
end

return mw.script {
  name = "container-escape",
  tags = { "attack.t1611", "attack.t1610" },
  needs = { "exe", "args", "comm", "uid", "euid", "loginuid", "sid", "container", "cgroup", "mnt_ns" },
  on = {
    exec = function(ev)
      local what = is_out(ev)
        or ev.args and (enters_host(ev) or mounts_host(ev) or starts_privileged(ev) or by_socket(ev)
          or writes_to_kernel(ev))
      if what and not command.contains(command.text(ev), ignore) and not command.contains(ev.cgroup, ignore) then
        mw.alert { severity = "high", key = (ev.container or ev.sid or "?") .. what, dedup = "1m", event = ev,
          tags = { what:find "starts a container" and "attack.t1610" or "attack.t1611" },
          text = ("%s: %s"):format(what, command.who(ev)) }
      end
    end,
  },
}
