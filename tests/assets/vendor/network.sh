# Makes this network and mount namespace a small internet: the names given lead to a server in another
# namespace, whose certificates this machine trusts. Arguments: directory, its process, names.
set -eu
directory=$1 server=$2
shift 2
address=160.79.104.10
mount --make-rprivate /
ip link set lo up
ip link add theirs type veth peer name ours netns "$server"
ip addr add 160.79.104.1/24 dev theirs
ip link set theirs up
cd "$directory"
openssl req -x509 -newkey rsa:2048 -nodes -keyout authority.key -out authority.pem -days 2 -subj "/CN=authority" \
    -addext "keyUsage=critical,keyCertSign" 2>/dev/null
openssl req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj "/CN=server" 2>/dev/null
names=$(for name in "$@"; do printf 'DNS:%s,' "$name"; done)
printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth\n' "${names%,}" > extensions
openssl x509 -req -in server.csr -CA authority.pem -CAkey authority.key -CAcreateserial -out server.pem -days 2 \
    -extfile extensions 2>/dev/null
trusted=/etc/ssl/certs/ca-certificates.crt
cat "$trusted" authority.pem > trusted.crt
{ echo "127.0.0.1 localhost"; for name in "$@"; do echo "$address $name"; done; } > hosts
mount --bind hosts /etc/hosts
mount --bind trusted.crt "$trusted"
echo go > go
