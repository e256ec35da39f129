# Has quell move every movable interrupt to each CPU that is named, one after the other; then says in /root/moved how often
# that worked, and on how many CPUs the network card's queues have been served. Why one did not work stands in
# /root/moved.why.
moved=0
: > /root/moved.why
for cpu in "$@"; do
    quell tune apply --profile "/root/irq$cpu.toml" > /root/moved.last 2>&1
    code=$?
    case $code in
    0) moved=$((moved + 1)) ;;
    *) { echo "to CPU $cpu: exit code $code:"; cat /root/moved.last; } >> /root/moved.why ;;
    esac
done
cpus=$(awk '/virtio.*(in|out)put/ { for (i = 2; i <= 5; i++) if ($i) hit[i] = 1 } END { print length(hit) }' /proc/interrupts)
echo "$moved to $cpus CPUs" > /root/moved.new && mv /root/moved.new /root/moved
