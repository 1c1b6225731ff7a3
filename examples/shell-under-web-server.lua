-- A web server has no business running a shell.
local mw = require "moonwatch"
local web = mw.set { "nginx", "apache2", "httpd", "php-fpm" }

return mw.script {
  name = "shell-under-web-server",
  tags = { "attack.t1505.003" },
  on = {
    exec = mw.where { comm = { "sh", "bash", "dash" } }(function(ev)
      local server = ev:ancestor(function(p) return web[p.comm] end)
      if server then
        mw.alert { severity = "high", key = server.id, dedup = "5m", event = ev }
      end
    end),
  },
}
