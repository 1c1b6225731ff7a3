-- What a web server's shell does: not that it runs, but what it fetches, what it starts and how it means to come back.
local mw = require "moonwatch"
local servers = mw.set { "nginx", "apache2", "httpd", "php-fpm" }
local shells = mw.set { "sh", "bash", "dash" }
local fetches = mw.set { "curl", "wget" }
local returns = mw.set { "crontab", "at", "systemctl" }
local writable = mw.match.glob { "/tmp/*", "/var/tmp/*", "/dev/shm/*" }
local usual = mw.match.regex [[^sh -c convert /var/www/upload/\d+\.jpg -resize \d+x\d+ /var/www/small/\d+\.jpg$]]

return mw.script {
  name = "web-shell",
  tags = { "attack.t1505.003" },
  on = {
    exec = function(ev)
      local server = ev:ancestor(function(p) return servers[p.comm] end)
      if not server then
        return
      end
      local what, severity
      if writable(ev.exe) then
        what, severity = "starts what was written", "critical"
      elseif returns[ev.comm] then
        what, severity = "will come back", "critical"
      elseif fetches[ev.comm] then
        what, severity = "fetches something", "high"
      elseif shells[ev.comm] and not usual(ev.cmdline) then
        what, severity = "runs a shell", "medium"
      end
      if what then
        local key = server.id .. " " .. what
        mw.alert { severity = severity, text = what, event = ev, key = key, dedup = "10m", dump = "30s" }
      end
    end,
  },
}
