import java.util.*;
import java.util.concurrent.ExecutionException;
import javax.security.auth.callback.*;
import javax.security.auth.login.AppConfigurationEntry;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.common.errors.SaslAuthenticationException;
import org.apache.kafka.common.security.auth.AuthenticateCallbackHandler;
import org.apache.kafka.common.security.oauthbearer.*;

/** Asks a broker about tokens: reads lines of a name and a token, and prints each name with yes or no. */
public class Judge {
  public static void main(String[] arguments) throws Exception {
    var lines = new Scanner(System.in);
    while (lines.hasNextLine()) {
      var words = lines.nextLine().split(" ");
      System.out.println(words[0] + " " + (isTaken(arguments[0], words[1]) ? "yes" : "no"));
    }
  }

  private static boolean isTaken(String broker, String token) throws Exception {
    Sender.token = token;
    var options = new Properties();
    options.put("bootstrap.servers", broker);
    options.put("security.protocol", "SASL_PLAINTEXT");
    options.put("sasl.mechanism", "OAUTHBEARER");
    options.put("sasl.jaas.config", OAuthBearerLoginModule.class.getName() + " required;");
    options.put("sasl.login.callback.handler.class", Sender.class.getName());
    try (var admin = Admin.create(options)) {
      admin.describeCluster().clusterId().get();
      return true;
    } catch (ExecutionException error) {
      if (error.getCause() instanceof SaslAuthenticationException) {
        System.err.println(error.getCause().getMessage());
        return false;
      }
      throw error;
    }
  }

  /** Sends a token without looking at it. */
  public static class Sender implements AuthenticateCallbackHandler {
    static String token;

    public void configure(Map<String, ?> options, String mechanism, List<AppConfigurationEntry> entries) {}

    public void close() {}

    public void handle(Callback[] callbacks) {
      for (var callback : callbacks) {
        if (callback instanceof OAuthBearerTokenCallback wanted) wanted.token(new Token(token));
      }
    }
  }

  record Token(String value) implements OAuthBearerToken {
    public Set<String> scope() { return Set.of(); }
    public long lifetimeMs() { return System.currentTimeMillis() + 3_600_000; }
    public String principalName() { return "test"; }
    public Long startTimeMs() { return null; }
  }
}
