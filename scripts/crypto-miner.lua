-- A process that digs for coins: by what its command line says, and by what it does.
-- Why: a miner is what most break-ins into servers end in. Names can be changed, so a program from an odd place is
--   followed
--   for a while: much processor time all along, and a connection to the outside, are what mining is.
-- ATT&CK: T1496.001
-- False positives: scientific and build programs in home directories that compute and have a connection (`ignore`).
-- Not seen: one that limits itself below `share`, or has a usual place and an unusual way to its pool.
-- Options: share = 0.8 (of a core, all along); seconds = 60 (how long it is followed); most = 20 (followed at once);
--   odd =
--   places that are odd; ignore = texts in paths that are left out
local mw = require "moonwatch"
local command = require "moonwatch.command"

local share = mw.option("share", 0.8)
local seconds = mw.option("seconds", 60)
local most = mw.option("most", 20)
local ignore = mw.option("ignore", { "/node_modules/", "/.cargo/", "/.rustup/", "/go-build", "/.vscode",
  "/.cache/bazel" })
local odd = mw.option("odd", { "/tmp/", "/var/tmp/", "/dev/shm/", "/memfd:", "/home/", "/root/", "/var/www/",
  "/run/", "/dev/" })

local flags = { "stratum+tcp://", "stratum+ssl://", "stratum+udp://", "stratum1+", "--donate-level", "--nicehash",
  " -o pool.",
  "--cpu-priority=", "--algo=rx", "--algo rx/", "-a rx/", "--coin=monero", "--coin monero", "randomx", "cryptonight",
  "minexmr", "supportxmr", "nanopool", "moneroocean", "hashvault", "c3pool", "/sbin/modprobe msr allow_writes=on",
  "LS1kb25hdGUtbGV2ZWw9", "c3RyYXR1bSt0Y3A6Ly" }
local miners = mw.set { "xmrig", "xmr-stak", "minerd", "cpuminer", "ccminer", "ethminer", "t-rex", "lolMiner",
  "nbminer", "cgminer",
  "bfgminer", "phoenixminer", "kdevtmpfsi", "kinsing", "xmrigDaemon", "cpuminer-multi", "nheqminer", "teamredminer" }
local pool_ports = mw.set { 3333, 4444, 5555, 6666, 7777, 8333, 9999, 14433, 14444, 45700, 45560, 10128, 10343,
  13333, 20580, 1111, 2222 }

local followed = 0

local function tell(ev, severity, what)
  mw.alert { severity = severity, key = ev.exe or ev.id, dedup = "10m", event = ev,
    text = ("%s: %s"):format(what, command.who(ev)) }
end

local function outside(sockets)
  for _, socket in ipairs(sockets) do
    if socket.remote_ip and socket.state == "established" and not socket.remote_ip:find "^127%."
      and socket.remote_ip ~= "::1" then
      return socket
    end
  end
end

-- Computes without a pause, with what it started, in each of ten looks: then its last connection counts.
local function follow(ev)
  local looks, socket = 0, nil
  local watching = ev:watch { every = math.max(seconds / 10, 0.1), for_ = seconds,
    sample = function(_, figures)
      looks = figures.cpu >= share and looks + 1 or -1000
      socket = outside(figures.sockets) or socket
    end,
    done = function(_, why)
      followed = followed - 1
      if why == "over" and looks > 0 and socket then
        tell(ev, pool_ports[socket.remote_port] and "high" or "medium",
          ("computes for %g s without a pause, connected with %s port %s"):format(seconds, socket.remote_ip,
            socket.remote_port or "?"))
      end
    end }
  followed = followed + (watching and 1 or 0)
end

return mw.script {
  name = "crypto-miner",
  tags = { "attack.t1496.001" },
  needs = command.needs,
  on = {
    exec = function(ev)
      local text = command.text(ev)
      if command.contains(text, flags) or command.is(ev, miners) then
        tell(ev, "high", "mines by its name or command line")
      elseif ev.pid and ev.id and followed < most and command.begins(ev.exe, odd) and not command.contains(ev.exe,
        ignore) then
        follow(ev)
      end
    end,
  },
}
