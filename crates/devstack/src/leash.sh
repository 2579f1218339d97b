# leash <run folder> <name> <phase> <signal> command...
#
# Writes down who this process is, then becomes the command. The starter's guard first leaves the mark `closed` and then reads
# what was written; this first writes and then looks for the mark. So whoever comes first, a child that starts while its starter
# dies is either seen by the guard or sees by itself that nobody wants it.
run=$1 name=$2 phase=$3 signal=$4
shift 4
read -r stat <"/proc/$$/stat" || exit 126
field() { shift 19; echo "$1"; }
# After the command in parentheses, field 20 is the time at which this process began: with it, a pid is a name.
echo "$$ $(field ${stat##*) }) $phase $signal" >"$run/$name.pid" || exit 126
[ -e "$run/closed" ] && exit 125
exec "$@"
