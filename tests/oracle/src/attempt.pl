# Tries each operation that standard input names, says how it went, and undoes it.
use strict;
use warnings;
use Fcntl;
use Errno;
$| = 1;
$SIG{PIPE} = 'DEFAULT';
my $number = 0;

sub end { my ($ok) = @_; print $ok ? "ok\n" : ($! + 0) . "\n"; return $ok }

while (my $line = <STDIN>) {
    chomp $line;
    my ($verb, @paths) = split /\t/, $line, -1;
    my ($path, $to, $real, $real_to) = map { pack 'H*', $_ } @paths;
    $number++;
    if ($verb eq 'read') {
        my $content = '';
        my $file;
        my $ok = sysopen($file, $path, O_RDONLY | O_NONBLOCK) && defined sysread($file, $content, 4096);
        print $ok ? 'ok ' . unpack('H*', $content) . "\n" : ($! + 0) . "\n";
    } elsif ($verb eq 'list') {
        my $ok = opendir(my $directory, $path);
        print $ok ? 'ok ' . join('2f', map { unpack 'H*', $_ } readdir $directory) . "\n" : ($! + 0) . "\n";
    } elsif ($verb eq 'write') {
        end(sysopen(my $file, $path, O_WRONLY | O_NONBLOCK));
    } elsif ($verb eq 'create') {
        my $ok = sysopen(my $file, $path, O_WRONLY | O_CREAT | O_EXCL, 0644);
        unlink $path if end($ok);
    } elsif ($verb eq 'rename') {
        rename $real_to, $real if end(rename $path, $to);
    } elsif ($verb eq 'link') {
        unlink $to if end(link $path, $to);
    } elsif ($verb eq 'execute') {
        my $status = system { $path } $path;
        end($status != -1);
    } elsif ($verb eq 'delete') {
        my $stash = "/tmp/stash-$$-$number";
        my $is_directory = (-d $path && !-l $path);
        $path =~ s{/+$}{};
        system('cp', '-a', '--', $real, $stash);
        if ($is_directory) {
            # From the directory that holds it: the way there may lead through a link inside it,
            # which is gone before the directory is.
            my ($holder, $name) = $path =~ m{^(.*/)([^/]+)$}s;
            if (chdir $holder) {
                system('rm', '-rf', '--', $name);
                chdir '/tmp';
            }
            my $gone = !-e $real;
            $! = Errno::EBUSY;
            end($gone);
            # A second name of a file that stayed, behind a mount, cannot be made again as a link.
            my @copy = ('cp', '-a', '--no-preserve=links', '--');
            if ($gone) { system(@copy, $stash, $real) }
            else { system(@copy, "$stash/.", $real) }
        } elsif (end(unlink $path)) {
            system('cp', '-a', '--', $stash, $real);
        }
        system('rm', '-rf', '--', $stash);
    }
}
