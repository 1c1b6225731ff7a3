-- The first attempt: a web server has no business running a shell.
local mw = require "moonwatch"
local servers = mw.set { "nginx", "apache2", "httpd", "php-fpm" }
local shells = mw.set { "sh", "bash", "dash" }

return mw.script {
  name = "web-shell",
  on = {
    exec = function(ev)
      if shells[ev.comm] and ev.parent and servers[ev.parent.comm] then
        mw.alert { severity = "high", event = ev, text = "runs a shell" }
      end
    end,
  },
}
