#!/bin/sh
# Deletes a customer, trying again where that helps. See clients/README.md.
#
# usage: CUSTOMERD_CLIENT_KEY=… CUSTOMERD_CLIENT_SECRET=… delete-customer.sh CUSTOMER_ID [SECONDS [IDEMPOTENCY_KEY]]
set -eu

url=${CUSTOMERD_URL:-http://127.0.0.1:8080}
customer=${1:-}
seconds=${2:-60}
key=${3:-$(cat /proc/sys/kernel/random/uuid 2>/dev/null || uuidgen)}

if [ -z "$customer" ] || [ -z "${CUSTOMERD_CLIENT_KEY:-}" ] || [ -z "${CUSTOMERD_CLIENT_SECRET:-}" ]; then
    sed -n '2,4s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

now() { date +%s; }
deadline=$(($(now) + seconds))

# Prints a header of the answer; nothing if it isn't there or no whole number.
number() {
    tr -d '\r' <"$scratch/headers" |
        awk -F': *' -v name="$1" 'tolower($1) == name && $2 ~ /^[0-9]+$/ { value = $2 } END { print value }'
}

# The headers come from standard input, since every user can see the arguments of a process.
try() {
    : >"$scratch/headers"
    : >"$scratch/body"
    left=$((deadline - $(now)))
    [ "$left" -lt 15 ] || left=15
    [ "$left" -gt 0 ] || left=1
    curl --silent --max-time "$left" --request DELETE --config - --dump-header "$scratch/headers" \
        --output "$scratch/body" --write-out '%{http_code}' "$url/api/v0/customers/$customer" <<END
header = "x-client-key: $CUSTOMERD_CLIENT_KEY"
header = "x-client-secret: $CUSTOMERD_CLIENT_SECRET"
header = "idempotency-key: $key"
END
}

# Seconds until the next try, with the number of tries so far.
wait_after() {
    asked=$(number retry-after)
    asked=${asked:-0}
    reset=$(number x-ratelimit-reset)
    if [ "$(number x-ratelimit-remaining)" = 0 ] && [ -n "$reset" ]; then
        # By this machine's clock: in plain sh the answer's Date can't be read.
        until_reset=$((reset - $(now)))
        [ "$until_reset" -le "$asked" ] || asked=$until_reset
    fi
    random=$(od -An -N2 -tu2 /dev/urandom)
    awk -v asked="$asked" -v tries="$1" -v random="$random" 'BEGIN {
        most = 0.2 * 2 ^ (tries - 1)
        if (most > 10) most = 10
        printf "%.3f", asked + most * random / 65535
    }'
}

tries=0
while :; do
    tries=$((tries + 1))
    # An answer that broke off is none.
    status=$(try) || status=000
    case $status in
        200)
            cat "$scratch/body"
            exit 0
            ;;
        408 | 409 | 429 | 5??) why="the service answered $status" ;;
        000) why="there was no answer" ;;
        *)
            cat "$scratch/body"
            exit 1
            ;;
    esac
    wait=$(wait_after "$tries")
    if awk -v wait="$wait" -v left="$((deadline - $(now)))" 'BEGIN { exit !(wait >= left) }'; then
        echo "delete-customer: gave up, $why; try again with the idempotency key $key" >&2
        exit 75
    fi
    echo "delete-customer: $why; trying again in $wait s" >&2
    sleep "$wait"
done
