-- A shell, interpreter or downloader below a web server, application server or database.
-- Why: it is how a web shell, a command injection or a copy to a program (postgres, redis) first shows.
-- ATT&CK: T1505.003, T1190
-- False positives: mail by PHP (sendmail), piped logs (rotatelogs), archive_command of postgres, CGI scripts: `ignore`
--   knows the first three by text. Java servers are known by their command line.
-- Not seen: code that runs inside of the server itself; servers under names that `servers` lacks.
-- Options: servers = names of servers; ignore = texts in command lines that are left out; span = 5m (one alert for each
--   server in it)
local mw = require "moonwatch"
local command = require "moonwatch.command"

local servers = mw.set(mw.option("servers", { "nginx", "apache", "apache2", "httpd", "lighttpd", "caddy", "php-fpm",
  "php-cgi",
  "uwsgi", "gunicorn", "puma", "unicorn", "tomcat", "mysqld", "mariadbd", "postgres", "redis-server", "mongod",
  "memcached", "clickhouse-server", "oracle", "w3wp" }))
local ignore = mw.option("ignore", { "sendmail", "/rotatelogs", "cronolog", "archive_command", "pgbackrest", "wal-g",
  "barman",
  "/usr/lib/postgresql/" })
local span = mw.option("span", "5m")
local java = { "catalina", "jetty", "jboss", "wildfly", "weblogic", "confluence", "jenkins.war" }
local unusual = { "sh", "bash", "dash", "ash", "zsh", "ksh", "csh", "tcsh", "busybox", "python", "python3", "perl",
  "ruby", "php",
  "nc", "ncat", "netcat", "curl", "wget", "socat", "whoami", "id", "uname" }

local function is_server(process)
  if command.is(process, { java = true }) then
    return command.contains(command.text(process), java) ~= nil
  end
  return command.is(process, servers) ~= nil
end

return mw.script {
  name = "shell-under-server",
  tags = { "attack.t1505.003", "attack.t1190" },
  needs = command.needs,
  on = {
    exec = mw.where { comm = unusual }(function(ev)
      local server = ev:ancestor(is_server)
      if server and not is_server(ev) and not command.contains(command.text(ev), ignore) then
        mw.alert { severity = "high", key = server.id, dedup = span, event = ev,
          text = ("below the server %s (pid %s): %s"):format(server.comm or "?", server.pid or "?", command.who(ev)) }
      end
    end),
  },
}
