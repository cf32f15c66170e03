# Perl's Net::DNS. Reads "TYPE NAME ADDRESS" lines, prints "MS OUTCOME" lines; see Outcome::read.
use strict;
use warnings;
use Net::DNS;
use Time::HiRes qw(time);

$| = 1;
my %known = map { $_ => 1 } qw(A AAAA CNAME MX NS PTR SRV TXT);

sub text {
    my ($kind, $one) = @_;
    return $one->address if $kind eq 'A' || $kind eq 'AAAA';
    return $one->cname if $kind eq 'CNAME';
    return $one->nsdname if $kind eq 'NS';
    return $one->ptrdname if $kind eq 'PTR';
    return $one->preference . ' ' . $one->exchange if $kind eq 'MX';
    return join ' ', $one->priority, $one->weight, $one->port, $one->target if $kind eq 'SRV';
    return join '', $one->txtdata;
}

sub ask {
    my ($kind, $name) = @_;
    return 'notasked' unless $known{$kind};
    my $resolver = Net::DNS::Resolver->new;
    my $reply = $resolver->send($name, $kind);
    return 'failure ' . $resolver->errorstring unless $reply;
    my $rcode = $reply->header->rcode;
    return 'noname' if $rcode eq 'NXDOMAIN';
    return "failure $rcode" unless $rcode eq 'NOERROR';
    my @found = map { text($kind, $_) } grep { $_->type eq $kind } $reply->answer;
    return @found ? 'data ' . join('|', @found) : 'nodata';
}

while (my $line = <STDIN>) {
    my ($kind, $name) = split ' ', $line;
    my $begun = time;
    my $out = ask($kind, $name);
    printf "%d %s\n", (time - $begun) * 1000, $out;
}
