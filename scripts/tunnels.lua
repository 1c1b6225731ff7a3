-- A command that opens a way through the firewall, or carries data out by it: tunnels, proxies, uploads.
-- Why: how an attacker stays in touch, and how what was found leaves.
-- ATT&CK: T1572, T1090, T1048, T1567
-- False positives: developers' tunnels; uploads by scripts of one's own (`ignore`); ssh -R and -D by administrators:
--   low.
-- Not seen: tunnels under other names, uploads by a program.
-- Options: ignore = texts in command lines that are left out; uploads = true (also curl -F, -T, --data of a file)
local mw = require "moonwatch"
local command = require "moonwatch.command"

local ignore = mw.option("ignore", {})
local uploads = mw.option("uploads", true)
local tunnels = mw.set { "cloudflared", "ngrok", "chisel", "frpc", "frps", "gost", "devtunnel", "bore",
  "localtunnel", "ligolo-ng",
  "iodine", "dnscat", "ptunnel", "revsocks", "rathole", "sshuttle", "tor", "proxychains", "proxychains4",
    "gs-netcat", "tmate" }
local drops = { "transfer.sh", "file.io", "paste.rs", "pastebin.com", "discord.com/api/webhooks", "hooks.slack.com",
  "webhook.site",
  "termbin.com", "0x0.st", "gofile.io", "api.telegram.org", "requestbin", "ngrok.io", "temp.sh", "anonfiles",
    "mega.nz", ".onion" }

local function by_ssh(ev)
  return command.is(ev, { ssh = true }) and (command.flag(ev.args, "-R") and "forwards a port of the other side"
    or command.flag(ev.args, "-D") and "makes a proxy"
    or command.flat(command.text(ev)):find "cat *>" and "sends what it is given to a file elsewhere")
    or command.is(ev, { python = true }) and command.contains(command.text(ev), { "-m http.server",
      "-m SimpleHTTPServer" })
    and "serves a directory, so that its files can be fetched"
end

-- tunnel, code tunnel, systemctl start tor
local function by_tunnel(ev)
  local words = ev.args
  return command.is(ev, tunnels) and not command.flag(words, "--version", "--help") and "opens a tunnel"
    or command.is(ev, { code = true, ["code-insiders"] = true }) and words[2] == "tunnel" and "opens a tunnel"
    or command.is(ev, { systemctl = true, service = true }) and command.contains(command.text(ev), { "start tor",
      "tor start" })
    and "opens a tunnel"
end

local function by_upload(ev)
  local text = command.flat(command.text(ev))
  if command.is(ev, { curl = true, wget = true }) then
    local out = text:find "%-F [^ ]*=@" or text:find "%-T [^-]" or text:find "%-%-upload%-file"
      or text:find "%-%-post%-file"
      or text:find "%-%-?d[ab%-inry]* @" or text:find "%-%-post%-data"
    return command.contains(text, drops) and "speaks to a place where data is dropped" or uploads and out
      and "sends a file away"
  end
  for _, word in ipairs(command.is(ev, { dig = true, nslookup = true, host = true }) and command.operands(ev.args)
    or {}) do
    if #word > 60 and not word:find("arpa", -5, true) then
      return "asks for a very long name, which carries data"
    end
  end
end

return mw.script {
  name = "tunnels",
  tags = { "attack.t1572", "attack.t1090", "attack.t1048", "attack.t1567" },
  needs = command.needs,
  on = {
    exec = function(ev)
      local what = ev.args and (by_tunnel(ev) or by_ssh(ev) or by_upload(ev))
      if what and not command.contains(command.text(ev), ignore) then
        local out = what:find "send" or what:find "drop" or what:find "carries" or what:find "serves"
        mw.alert { severity = command.contains(what, { "port", "sends", "serves" }) and "low" or "medium",
          key = (ev.sid or "?") .. what, dedup = "1m", event = ev,
          tags = out and { "attack.t1048", "attack.t1567" } or { "attack.t1572", "attack.t1090" },
          text = ("%s: %s"):format(what, command.who(ev)) }
      end
    end,
  },
}
