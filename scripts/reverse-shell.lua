-- A shell that somebody elsewhere holds: its input or output is a network connection, or its command line makes it so.
-- Why: after a break-in the first thing that comes is a shell that calls back. Bare and interactive shells are asked
--   for their sockets at the exec; the one-liners of shells, nc, socat, python, perl, ruby, php, lua, awk and node are
--   known by what they must say. A check such as `</dev/tcp/db/5432` says less, and is left alone.
-- ATT&CK: T1059, T1071
-- False positives: inetd-like services that give a bare shell a socket on purpose.
-- Not seen: a shell behind a pseudo terminal or a pipe of a program that does not say so on its command line.
-- Options: ask = true (ask shells for their sockets); ignore = none (texts: command lines that contain one are left
--   out)
local mw = require "moonwatch"
local command = require "moonwatch.command"
local contains, text_of = command.contains, command.text

local ask = mw.option("ask", true)
local ignore = mw.option("ignore", {})

local netcats = mw.set { "nc", "ncat", "netcat", "nc.openbsd", "nc.traditional" }
local runs = { "exec", "system", "popen", "spawn", "dup2", "fdopen", "child_process", "subprocess", "passthru", "`" }
-- interpreter -> what makes a connection
local connects = {
  python = { "socket" }, perl = { "Socket" }, ruby = { "TCPSocket", "rsocket" }, php = { "fsockopen", "stream_socket" },
  lua = { "socket" }, luajit = { "socket" }, node = { "net.Socket", "net.connect", "require('net')", 'require("net")' },
  awk = { "/inet/" }, gawk = { "/inet/" },
}

local function is_shell(word)
  return command.shells[command.base(word:match "^[^ ,:]*") or ""]
end

-- A path or name of a shell in one of the words: nc -e /bin/sh, EXEC:'bash -li'
local function shell_in(words)
  for i = 2, #words do
    local word = words[i]
    if word:find("sh", 1, true) then
      word = word:lower()
      if is_shell(word) or command.after(word, "exec:", "[/'\":]%s*%a*sh") or command.after(word, "system:", "sh") then
        return true
      end
    end
  end
end

local function by_netcat(ev)
  return command.is(ev, netcats) and command.flag(ev.args, "-e", "-c", "--exec", "--sh-exec") and shell_in(ev.args)
end

local function by_socat(ev)
  local text = ev.args and command.is(ev, { socat = true }) and text_of(ev):lower()
  return text and contains(text, { "tcp", "udp", "openssl", "sctp" }) and shell_in(ev.args)
end

local function by_interpreter(ev)
  local name = command.is(ev, connects)
  local text = name and text_of(ev)
  return text and contains(text, connects[name]) and contains(text, runs)
    and contains(text, { "sh", "dup2", "exec", "fdopen", "|& getline" }) and contains(text, { "-c", "-e", "-r",
      "BEGIN" })
end

-- What a shell was told: /dev/tcp as input and output at once, or a pipe in a ring through the network.
local function by_shell(ev)
  local text = command.flat(command.told(ev))
  if not text then
    return false
  elseif contains(text, { "/dev/tcp/", "/dev/udp/" }) then
    return text:find "0[<>]&" or text:find "sh%s+%-i" or text:find "while%s+read" or text:find "sh%s*<&"
  end
  return contains(text, { "mkfifo", "mknod", "telnet" }) and text:find "|%s*[/%w]*sh%f[%W]"
    and contains(text, { "nc ", "ncat ", "netcat ", "telnet ", "s_client" })
end

local function remote_socket(ev)
  for _, socket in ipairs(ev:sockets() or {}) do
    if socket.fd <= 2 and socket.remote_ip then
      return ("%s port %s"):format(socket.remote_ip, socket.remote_port or "?")
    end
  end
end

-- A shell that was given nothing to do reads its input: only such shells are asked, which is cheap.
local function bare(ev)
  local args = ev.args
  return args and ev.pid and command.is(ev, command.shells) and #command.operands(args) == 0 and not command.told(ev)
end

return mw.script {
  name = "reverse-shell",
  tags = { "attack.t1059", "attack.t1071" },
  needs = command.needs,
  on = {
    exec = function(ev)
      local peer = ask and bare(ev) and remote_socket(ev)
      local how = peer and "its input or output is a connection with " .. peer
        or (by_netcat(ev) or by_socat(ev) or by_interpreter(ev) or by_shell(ev)) and "the command line makes one"
      if how and not contains(text_of(ev), ignore) then
        mw.alert { severity = "critical", key = ev.id, dedup = "1m", event = ev,
          text = ("reverse shell (%s): %s"):format(how, command.who(ev)) }
      end
    end,
  },
}
